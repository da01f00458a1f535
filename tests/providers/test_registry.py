"""What the registry promises of every provider."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vvwatch.core.locations import Address
from vvwatch.providers.azure.settings import address_of
from vvwatch.providers.registry import PROVIDERS, addresses_of

SDKS = ("aiobotocore", "azure", "gcloud", "aiohttp", "cryptography", "watchfiles")


def test_a_provider_is_known_by_its_kind() -> None:
    for kind, provider in PROVIDERS.items():
        assert kind == provider.kind == provider.table.model_fields["type"].default


def test_the_registry_and_the_configuration_import_no_sdk() -> None:
    program = (
        "import sys\n"
        "import vvwatch.config, vvwatch.providers.registry\n"
        f"print([name for name in {SDKS!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_person_may_leave_the_endpoint_out() -> None:
    place = {"bucket": "b", "endpoint_url": "http://e"}
    assert [each.base for each in addresses_of("s3", place)] == ["http://e/b/", "s3://b/"]
    assert [each.base for each in addresses_of("gcs", {"bucket": "b"})] == ["gs://b/"]
    assert [each.base for each in addresses_of("azure", {"storage_account": "a", "container": "c"})] == [
        "https://a.blob.core.windows.net/c/"
    ]
    assert addresses_of("local", {"root": "/srv"}) == addresses_of("of a newer vvwatch", {}) == ()


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        (address_of("acc", "c"), "https://acc.blob.core.windows.net/c/a%20b%252F/%C3%A9"),
        (address_of("acc", "c", "https://e/acc/"), "https://e/acc/c/a%20b%252F/%C3%A9"),
    ],
)
def test_the_address_of_a_container_is_that_of_one_object(address: Address, uri: str) -> None:
    assert address.of("a b%2F/\u00e9") == uri
    assert address.key_at(uri) == "a b%2F/\u00e9"
