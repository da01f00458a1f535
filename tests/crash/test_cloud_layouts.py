"""Exports in every format to each cloud, through kills at their writes: nothing is half, and nothing is doubled.

With VVWATCH_FULL=1 a kill before and after each write and each commit, else at a few of them. `tests/contract` dies at
every write in one process, with sidecars, on every provider.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import slices
from tests.crash import buckets
from tests.crash.buckets import Bucket
from tests.crash.dying import die_at
from tests.daemon_process import Daemon, wait_until
from vvwatch.formats.registry import FORMATS

STEPS = [
    *(f"storage.write#{number}" for number in range(1, 11)),
    "storage.replace",
    "ledger.claim_outputs",
    *(f"own_files.claim_file#{number}" for number in (1, 4, 8)),
    "exports.finish",
]
POINTS = [(moment, step) for step in STEPS for moment in ("before", "after")]
FULL_SECONDS = 1_800


def check(daemon: Daemon, bucket: Bucket) -> None:
    """Each export is complete, and the pointer leads to the newest; nothing else is there."""
    exports = {export for (export,) in daemon.rows("select id from exports where status = 'completed'")}
    assert daemon.rows("select count(*) from exports") == [(len(exports),)]
    assert daemon.rows("select count(*) from prompt_runs") == [(len(exports),)]
    found = bucket.exported()
    expected = {"results/latest.json"}
    for export in exports:
        manifest = json.loads(found[f"results/{export}/manifest.json"])
        assert found[f"results/{export}/_SUCCESS"] == b""
        files = {each["name"]: each["sha256"] for each in manifest["files"]}
        assert {name: hashlib.sha256(found[name]).hexdigest() for name in files} == files
        written = {each["format"] for each in manifest["files"] + manifest["left_out"]}
        assert written == {"json", *FORMATS}
        expected |= {*files, f"results/{export}/manifest.json", f"results/{export}/_SUCCESS"}
    assert set(found) == expected
    assert json.loads(found["results/latest.json"])["export_id"] == max(exports)


@pytest.mark.timeout(FULL_SECONDS)
@pytest.mark.parametrize("cloud", [buckets.s3, buckets.gcs, buckets.azure], ids=lambda make: make.__name__)
def test_kills_at_writes_to_a_cloud_leave_every_file_whole(
    tmp_path: Path,
    picture: Path,
    cloud: Callable[[pytest.FixtureRequest], Bucket],
    request: pytest.FixtureRequest,
) -> None:
    bucket = cloud(request)
    daemon = Daemon(
        tmp_path,
        connectors=bucket.connectors,
        environ=bucket.environ,
        automation='pattern = "in/*.png"',
        export=f'formats = {json.dumps(["json", *FORMATS])}\nfiles = "item"\nlatest = true',
    )
    points = slices.sample(POINTS, 3)
    bucket.put("in/0.png", picture.read_bytes())
    with daemon:  # what comes later replaces its pointer
        wait_until(lambda: is_done(daemon, 1), "the first export", seconds=150)
    for number, point in enumerate(points, 1):
        bucket.put(f"in/{number}.png", picture.read_bytes())
        die_at(daemon, *point, seconds=150)
        with daemon:
            wait_until(lambda: is_done(daemon, number + 1), f"{point} is made good", seconds=150)  # noqa: B023
    check(daemon, bucket)


def is_done(daemon: Daemon, exports: int) -> bool:
    ended = "select count(*) from exports where status = 'completed'"
    return daemon.rows(ended) == [(exports,)]
