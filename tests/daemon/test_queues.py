"""The queue of each provider, opened with the location and the credentials of its connector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.daemon.test_storages import APPLICATION, AZURE, EMULATORS, KEY, S3, Live, row
from tests.providers.gcs.gcs_places import service_account
from vvwatch.daemon.storages import open_queue
from vvwatch.errors import CredentialsRefused, InvalidInput
from vvwatch.providers.azure.queue import StorageQueue
from vvwatch.providers.gcs.queue import PubSubQueue
from vvwatch.providers.s3.queue import SqsQueue

pytestmark = pytest.mark.anyio

SQS = "https://sqs.eu-central-1.amazonaws.com/123456789012/rushes"
PUBSUB = "projects/studio/subscriptions/stage"
STORAGE_QUEUE = "https://studio.queue.core.windows.net/footage"


def connector(provider: str, settings: dict[str, Any], queue: str, secret: str | None, **events: Any) -> Any:
    return row(provider, settings, secret, events={"queue": queue, "mode": "exclusive", **events})


@pytest.mark.parametrize(
    ("connector", "kind"),
    [
        (connector("s3", S3, SQS, KEY), SqsQueue),
        (connector("gcs", {"bucket": "stage"}, PUBSUB, service_account()), PubSubQueue),
        (connector("gcs", {"bucket": "stage"}, PUBSUB, None, endpoint_url="http://127.0.0.1:5"), PubSubQueue),
        (connector("azure", AZURE, STORAGE_QUEUE, APPLICATION), StorageQueue),
        (connector("s3", {**S3, "ambient": True}, SQS, None), SqsQueue),
    ],
    ids=["s3", "gcs", "emulator", "azure", "ambient"],
)
async def test_the_queue_of_a_provider_is_its_own(tmp_path: Path, connector: Any, kind: type[Any]) -> None:
    live = Live(tmp_path)
    if "endpoint_url" in connector.events:
        live.reload(EMULATORS)
    queue = open_queue(live.storages, connector)
    assert isinstance(queue, kind)
    assert "pl4nted" not in repr(queue)
    await queue.aclose()


@pytest.mark.parametrize(
    ("connector", "error"),
    [
        (row("local", {"root": "/x"}, events=None), InvalidInput),
        (row("s3", S3, KEY, events=None), InvalidInput),
        (connector("s3", S3, "rushes", KEY), InvalidInput),
        (connector("s3", S3, SQS, None), CredentialsRefused),
    ],
    ids=["folder", "no events", "no queue", "no credentials"],
)
def test_what_cannot_be_opened_says_why(
    tmp_path: Path, connector: Any, error: type[InvalidInput | CredentialsRefused]
) -> None:
    with pytest.raises(error) as refused:
        open_queue(Live(tmp_path).storages, connector)
    assert refused.value.message
    assert refused.value.hint
