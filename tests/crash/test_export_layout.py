"""Exports in many formats into the watched folder itself, through kills: nothing is half, doubled or imported."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests import slices
from tests.crash import accounting
from tests.crash.dying import die_at
from tests.crash.producer import Producer
from tests.daemon_process import Daemon, wait_until
from tests.receiver import Receiver
from vvwatch.formats.registry import FORMATS

WRITES = [("storage.write", number) for number in range(1, 12)] + [("storage.replace", 1)]
POINTS = [
    *((moment, f"{name}#{number}") for name, number in WRITES for moment in ("before", "after")),
    *((moment, f"own_files.claim_file#{number}") for number in range(1, 9) for moment in ("before", "after")),
    ("before", "exports.finish"),
    ("after", "exports.finish"),
]


def make_daemon(base: Path, receiver: Receiver) -> Daemon:
    """A daemon that exports below the folder that it watches, and beside its media."""
    incoming = base / "incoming"
    formats = json.dumps(["json", *FORMATS])
    return Daemon(
        base,
        webhook_url=receiver.url,
        connectors=f"""
[connectors.in]
type = "local"
path = "{incoming}"
scopes = ["import", "export"]
[connectors.out]
type = "local"
path = "{incoming}"
scopes = ["export"]
""",
        export=f'formats = {formats}\nfiles = "item"\nsidecars = true\nlatest = true\npretty = true',
    )


def list_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check(daemon: Daemon, names: set[str]) -> None:
    """Each export is complete; besides media and what manifests name there is only what ends an export."""
    exports = {export for (export,) in daemon.rows("select id from exports where status = 'completed'")}
    assert daemon.rows("select count(*) from exports") == [(len(exports),)]
    assert daemon.rows("select count(*) from prompt_runs") == [(len(exports),)]
    found = list_files(daemon.incoming)
    expected = {*names, "results/latest.json"}
    for export in exports:
        ends = {f"results/{export}/manifest.json", f"results/{export}/_SUCCESS"}
        manifest = json.loads(found[f"results/{export}/manifest.json"])
        files = {each["name"]: each["sha256"] for each in manifest["files"]}
        assert {name: hashlib.sha256(found[name]).hexdigest() for name in files} == files
        assert len(files) == len(manifest["files"])
        assert expected.isdisjoint({*files, *ends})
        expected |= {*files, *ends}
    assert set(found) == expected
    assert json.loads(found["results/latest.json"])["export_id"] == max(exports)
    assert {Path(name).stem for name in names} <= {
        Path(name).name.partition(".")[0] for name in set(found) - names
    }
    assert {key for (key,) in daemon.rows("select key from media")} == names
    assert daemon.rows("select key from observations") == []
    assert [path.name for path in (daemon.state / "exports").iterdir()] == []


@pytest.mark.timeout(1_800)
def test_kills_leave_every_file_whole_and_none_imported(tmp_path: Path, picture: Path) -> None:
    with Receiver() as receiver:
        daemon = make_daemon(tmp_path, receiver)
        producer = Producer(daemon.incoming, picture)
        for moment, name in slices.sample(POINTS, 5):
            producer.drop()
            die_at(daemon, moment, name, seconds=120)
        producer.drop()
        with daemon:
            wait_until(lambda: accounting.is_done(daemon, producer.names), "all done", seconds=200)
        check(daemon, producer.names)
        accounting.check_events(daemon, receiver)
