"""A forecast of a configuration, from locations that are counted or said to hold so many objects."""

from __future__ import annotations

import secrets
from pathlib import Path

import anyio
import pytest

from tests.emulators.s3_server import S3Server, make_bucket, raw_client
from vvwatch.config import Config, load
from vvwatch.core.costs import Detection
from vvwatch.daemon import planning
from vvwatch.daemon.planning import Planned, plan_automations
from vvwatch.errors import StorageError

pytestmark = pytest.mark.anyio


def configured(folder: Path, connector: str, automation: str = "", *, second: str = "") -> Config:
    """One automation for this connector, or two."""
    (folder / "key").write_text("testing")
    (folder / "key").chmod(0o600)
    path = folder / "vvwatch.toml"
    tables = f"[connectors.c]\n{connector}\n[indexes.i]\n[automations.a]\nindex = 'i'\nconnector = 'c'\n"
    path.write_text(f"local.roots = ['{folder}']\n{tables}{automation}\n{second}")
    return load(path, {"VVWATCH_STATE_DIR": str(folder / "state")})


def folder_of(tmp_path: Path, files: int) -> str:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(files):
        (folder / f"{number}.mp4").touch()
    return f"type = 'local'\npath = '{folder}'"


async def only(config: Config, objects: int | None = None) -> Planned:
    [found] = await plan_automations(config, objects)
    assert found.error is None
    return found


async def test_a_folder_is_counted_and_costs_nothing(tmp_path: Path) -> None:
    found = await only(configured(tmp_path, folder_of(tmp_path, 3)))
    assert found.size == planning.Size(3, 0, complete=True)
    assert found.forecast is not None
    assert (found.learnt_by, found.forecast.calls_per_hour) == (Detection.NOTICES, 0)
    assert found.forecast.worst_seconds == pytest.approx(120 * 1.1 + 5)
    assert not (tmp_path / "state").exists(), "nothing is written"


async def test_a_shared_folder_tells_nothing_by_itself(tmp_path: Path) -> None:
    found = await only(configured(tmp_path, folder_of(tmp_path, 1) + "\nshared = true"))
    assert found.learnt_by is Detection.LISTING


async def test_what_two_automations_watch_alike_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    counted = planning._count_objects

    async def noted(*args: object) -> planning.Size:
        listed.append(args)
        return await counted(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(planning, "_count_objects", noted)
    second = "[indexes.j]\n[automations.b]\nindex = 'j'\nconnector = 'c'\npattern = '*.mov'"
    found = await plan_automations(configured(tmp_path, folder_of(tmp_path, 2), second=second))
    assert [each.size and each.size.objects for each in found] == [2, 2]
    assert len(listed) == 1


async def test_counting_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_MOST_OBJECTS", 1_000)
    found = await only(configured(tmp_path, folder_of(tmp_path, 1_500)))
    assert found.size is not None
    assert found.size.objects >= 1_000
    assert not found.size.complete


S3 = """type = "s3"
bucket = "{bucket}"
endpoint_url = "{url}"
access_key_id = "testing"
secret_access_key_file = "key"
"""


async def test_a_bucket_is_counted_with_its_own_credentials(moto: S3Server, tmp_path: Path) -> None:
    bucket = f"b-{secrets.token_hex(8)}"
    await make_bucket(moto, bucket)
    async with raw_client(moto) as s3, anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""), f"in/{number}.mp4")
    connector = S3.format(bucket=bucket, url=moto.endpoint_url)
    found = await only(configured(tmp_path, connector, "prefix = 'in/'\ndebounce = '5m'"))
    assert found.size is not None
    assert found.forecast is not None
    assert (found.size.objects, found.size.complete) == (40, True)
    assert found.forecast.calls_per_hour == found.size.calls * 60 >= 60
    assert found.forecast.usd_per_month > 0


async def test_a_size_may_be_given_and_nobody_is_asked(tmp_path: Path) -> None:
    connector = S3.format(bucket="nowhere", url="http://127.0.0.1:9")
    found = await only(configured(tmp_path, connector, "max_list_calls_per_hour = 1000"), 1_000_000)
    assert found.size == planning.Size(1_000_000, 1_000)
    assert found.forecast is not None
    assert found.forecast.stretched
    assert found.forecast.calls_per_hour <= 1_000


async def test_events_make_the_listing_a_sweep(tmp_path: Path) -> None:
    connector = S3.format(bucket="rushes", url="http://127.0.0.1:9")
    events = "[connectors.c.events]\nqueue = 'https://sqs.us-east-1.amazonaws.com/123456789012/q'\n"
    found = await only(configured(tmp_path, f"{connector}\n{events}sweep_interval = '2h'\n"), 5_000)
    assert found.forecast is not None
    assert (found.learnt_by, found.forecast.every_seconds) == (Detection.EVENTS, 7_200)
    assert found.forecast.typical_seconds < 10


async def test_what_cannot_be_counted_says_why_and_hinders_no_other(tmp_path: Path) -> None:
    connector = (
        "type = 's3'\nbucket = 'nowhere'\nendpoint_url = 'http://127.0.0.1:9'\ncredentials = 'ambient'"
    )
    other = f"[connectors.d]\n{folder_of(tmp_path, 1)}\n[indexes.j]\n[automations.b]\nindex = 'j'\nconnector = 'd'"
    first, second = await plan_automations(configured(tmp_path, connector, second=other))
    assert isinstance(first.error, StorageError)
    assert (first.size, first.forecast) == (None, None)
    assert second.size is not None
