"""Presets of compatible stores."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vvwatch.config import Config, ConfigInvalid, load
from vvwatch.providers.registry import addresses_of
from vvwatch.providers.s3.settings import PRESETS


def read(folder: Path, *lines: str) -> Config:
    text = '[connectors.a]\ntype = "s3"\nbucket = "studio"\ncredentials = "ambient"\n'
    (folder / "vvwatch.toml").write_text(text + "\n".join(lines))
    return load(folder / "vvwatch.toml", {"HOME": str(folder)})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_the_stores_address_in_the_region(tmp_path: Path, preset: str) -> None:
    location = read(tmp_path, f'preset = "{preset}"', 'region = "eu-1"').connectors["a"].location
    assert location == {
        "bucket": "studio",
        "region": "eu-1",
        "endpoint_url": PRESETS[preset].replace("{region}", "eu-1"),
        "ambient": True,
    }
    assert location["endpoint_url"].startswith("https://")
    assert "eu-1" in addresses_of("s3", location)[0].base


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_documented(preset: str) -> None:
    root = Path(__file__).parents[3]
    assert f'"{preset}"' in (root / "config" / "vvwatch.toml").read_text()
    assert re.search(rf'[`"]{preset}["`]', (root / "docs" / "storage.md").read_text())


@pytest.mark.parametrize(
    ("lines", "key", "what"),
    [
        (('preset = "wasabbi"', 'region = "eu-1"'), "preset", "'wasabbi' is not one of them"),
        (('preset = "wasabi"',), "region", "is required"),
        (
            ('preset = "wasabi"', 'region = "eu-1"', 'endpoint_url = "https://m"'),
            "preset",
            "cannot be combined with endpoint_url",
        ),
    ],
)
def test_a_preset_that_cannot_be_used_says_why(
    tmp_path: Path, lines: tuple[str, ...], key: str, what: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read(tmp_path, *lines)
    [problem] = caught.value.problems
    assert (problem.key, problem.what) == (f"connectors.a.{key}", what)
    assert problem.hint
