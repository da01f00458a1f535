"""A daemon that has done everything a page can show: good and broken media, hostile names, deliveries, exports."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import samples
from tests.daemon_process import ADMIN_KEY, Daemon, wait_until
from tests.file_host import FileHost
from tests.receiver import Receiver

MARKUP = "<img src=x onerror=alert(1)><b>bold.mp4"
TURNED = "evil\u202e4pm.gnp\u200f.mp4"
LONG = "long-" + "n" * 200 + ".mp4"
CONTROL = "bell\x07 and\ttab.mp4"
HOSTILE = (MARKUP, TURNED, LONG, CONTROL)
CAPTIONS = "1\n00:00:00,200 --> 00:00:01,800\nThe tide <i>turns</i> at noon & all is well\n"
_EXTRA = """
[webhooks.wall]
url = "{url}"
secret_file = "{base}/secret"
events = ["export.ready"]
[processors.picky]
type = "command"
command = ["sh", "-c", "echo not this one >&2; exit 65"]
level = "item"
[processors.slow]
type = "command"
command = ["sh", "-c", "until [ -e {base}/enough ]; do sleep 0.2; done; exit 65"]
level = "item"
"""


@dataclass(frozen=True, slots=True)
class World:
    """The daemon, and ids of what it has.

    `wall` is the receiver that accepts everything, `host` where attachments come from. The processor `picky` takes
    nothing, and `slow` neither, once there is a file `enough`.
    """

    daemon: Daemon
    wall: Receiver
    host: FileHost
    job_id: str
    run_id: str
    media_id: str
    hostile_ids: tuple[str, ...]
    delivery_id: str
    export_id: str
    download_id: str

    @property
    def key(self) -> str:
        """A key that may do everything."""
        return ADMIN_KEY

    def post(self, path: str, body: Any) -> Any:
        """The answer of the API to what it accepts."""
        status, answer = self.daemon.call("POST", path, body)
        assert status < 300, answer
        return answer

    def run(self, processor: str) -> str:
        """Have one film processed, and return the id of the run."""
        target = {"type": "videos", "video_ids": [self.media_id]}
        asked = {"prompt_id": "prompt_technical", "target": target, "processing_model": processor}
        return str(self.post("/prompt-runs/execute", asked)["run_id"])

    def fetch(self, path: str) -> str:
        """Have an attachment fetched, and return the id of the import job."""
        files = [{"file_id": "file_1", "download_url": self.host.url(path)}]
        return str(self.post("/workflow/attachments", {"index_id": "idx_main", "files": files})["job_id"])

    def change_row(self, sql: str, *values: object) -> None:
        """Make one row of the database what would take long to come about."""
        with closing(sqlite3.connect(self.daemon.state / "vvwatch.db", timeout=20)) as database, database:
            assert database.execute(sql, values).rowcount == 1, sql

    def list_screens(self) -> list[str]:
        """The paths of all pages."""
        return [
            *("/", "/attention", "/windows"),
            *("/automations", "/automations/new", "/connectors", "/connectors/new", "/connectors/conn_in"),
            *("/jobs", "/jobs?show=attention", f"/jobs/{self.job_id}", f"/jobs/{self.job_id}?status=failed"),
            *("/runs", f"/runs/{self.run_id}", f"/runs/{self.run_id}?only=failed"),
            *("/media", "/media?q=tide", f"/media/{self.media_id}", f"/media/{self.hostile_ids[0]}"),
            *("/exports", f"/exports/{self.export_id}", f"/exports/{self.download_id}"),
            *("/deliveries", f"/deliveries/{self.delivery_id}"),
            *("/explain", "/explain?connector_id=conn_in&key=broken_0007.mp4"),
            "/attention/import_file?reason=media_unreadable",
        ]


@contextmanager
def make_world(base: Path) -> Iterator[World]:
    """Run the daemon, with one import job of good, broken and hostile files and a receiver that gave up."""
    with Receiver(statuses=[410]) as receiver, Receiver() as wall, FileHost() as host:
        extra = _EXTRA.format(url=wall.url, base=base)
        daemon = Daemon(base, debounce="1s", webhook_url=receiver.url, extra=extra)
        _fill(daemon.incoming)
        with daemon:
            wait_until(lambda: _is_done(daemon), "the import, the run and the export")
            status, made = daemon.call("POST", "/exports/index/idx_main", {})
            assert status == 202, made
            download = made["export_id"]
            wait_until(lambda: daemon.get(f"/exports/{download}")["status"] == "completed", "the download")
            yield _describe(daemon, wall, host, download)


def _fill(folder: Path) -> None:
    """The folder is filled before the daemon starts: all becomes one window."""
    clip = samples.video(folder / "harbour-interview_0042.mp4", 3, cuts=(1.5,), size=(320, 180))
    (folder / "harbour-interview_0042.srt").write_text(CAPTIONS)
    samples.audio(folder / "room-tone.mp3", 2)
    samples.image(folder / "slate.png")
    for name in HOSTILE:
        shutil.copyfile(clip, folder / name)
    (folder / "broken_0007.mp4").write_bytes(b"\0\0\0\x18ftypmp42 this is no film" * 40)


def _is_done(daemon: Daemon) -> bool:
    runs = daemon.get("/prompt-runs")
    exports = daemon.get("/exports")
    ended = bool(runs) and all(run["completed_at"] for run in runs)
    given_up = [each for each in _list_deliveries(daemon) if each["status"] == "failed"]
    return ended and bool(exports) and exports[0]["status"] == "completed" and bool(given_up)


def _list_deliveries(daemon: Daemon) -> list[dict[str, Any]]:
    hooks = {each["name"]: each["webhook_id"] for each in daemon.get("/webhooks")}
    found: list[dict[str, Any]] = daemon.get(f"/webhooks/{hooks['receiver']}/deliveries")
    return found


def _describe(daemon: Daemon, wall: Receiver, host: FileHost, download: str) -> World:
    job = daemon.get("/import-jobs")[-1]
    names = {each["file_name"]: each["video_id"] for each in job["outputs"]["items"]}
    failed = next(each for each in _list_deliveries(daemon) if each["status"] == "failed")
    exported = next(each for each in daemon.get("/exports") if each["export_id"] != download)
    return World(
        daemon=daemon,
        wall=wall,
        host=host,
        job_id=job["job_id"],
        run_id=daemon.get("/prompt-runs")[-1]["run_id"],
        media_id=names["harbour-interview_0042.mp4"],
        hostile_ids=tuple(names[name] for name in HOSTILE if name in names),
        delivery_id=failed["delivery_id"],
        export_id=exported["export_id"],
        download_id=download,
    )
