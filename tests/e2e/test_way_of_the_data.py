"""A file dropped into a folder travels the whole way, with bad files beside it that harm nobody."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections import Counter
from pathlib import Path

import jsonschema
import pytest

from tests import samples
from tests.daemon_process import ADMIN_KEY, SECRET, Daemon, wait_until
from tests.e2e.conftest import Make
from tests.receiver import Receiver
from vvwatch.workflow.pipeline.artifact_schema import json_schema

BAD = {
    "empty.mp4": "zero_byte",
    "notes.txt": "unsupported_media_type",
    "link.mp4": "not_a_regular_file",
    "bad\\xff.mp4": "undecodable_name",
}


def fill(folder: Path, elsewhere: Path) -> None:
    samples.video(folder / "clip.mp4", seconds=4, cuts=(2.0,))
    samples.audio(folder / "sound.wav", seconds=3)
    samples.image(folder / "picture.png")
    (folder / "day").mkdir()
    samples.image(folder / "day" / "nested.jpg")
    samples.truncated(samples.video(elsewhere / "whole.mp4", seconds=4), folder / "cut.mp4", 0.5)
    (folder / "page.mp4").write_text("<Error><Code>AccessDenied</Code></Error>")
    (folder / "empty.mp4").touch()
    (folder / "notes.txt").write_text("not media")
    (folder / "half.mp4.part").write_bytes(b"x" * 100)
    (folder / ".hidden.mp4").write_bytes(b"x" * 100)
    (folder / "link.mp4").symlink_to(folder / "clip.mp4")
    Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff.mp4")).write_bytes(b"x" * 100)


def all_delivered(daemon: Daemon) -> bool:
    return daemon.rows("select count(*) from deliveries where next_at is not null") == [(0,)]


@pytest.mark.timeout(180)
def test_the_whole_way(make: Make, tmp_path: Path) -> None:
    with Receiver(statuses=[503, 200]) as receiver:
        daemon = make(debounce="2s", settle="0.5s", webhook_url=receiver.url, warm=False)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        with daemon:
            fill(daemon.incoming, elsewhere)
            before = contents(daemon.incoming)
            wait_until(lambda: "export.ready" in receiver.types(), "the export is announced", 90)
            wait_until(lambda: all_delivered(daemon), "all deliveries")
            check_import(daemon)
            check_run(daemon)
            check_export(daemon)
            check_webhooks(daemon, receiver)
            assert daemon.stop() == 0
        check_secrets(daemon)
        check_power_loss_sim(daemon, before)


def check_import(daemon: Daemon) -> None:
    assert daemon.rows("select count(*), min(state), max(reason) from windows") == [(1, "closed", "quiet")]
    [job] = daemon.get("/import-jobs")
    assert job["status"] == "completed"
    assert job["progress"]["imported"] == 4
    assert {item["path"] for item in job["failed_files"]} == {"cut.mp4", "page.mp4"}
    assert all(item["error"] for item in job["failed_files"])
    skipped = {item["path"]: item["reason"] for item in job["skipped_files"]}
    assert skipped.keys() == BAD.keys()
    assert job["execution"]["status"] == "submitted"


def check_run(daemon: Daemon) -> None:
    [run] = daemon.get("/prompt-runs")
    assert run["status"] == "completed"
    assert run["total_videos"] == 1
    assert run["total_audios"] == 1
    assert run["total_images"] == 2
    videos = daemon.get("/indexes/idx_main/videos")["data"]
    assert Counter(video["media_type"] for video in videos) == {"video": 1, "audio": 1, "image": 2}
    clip = next(video for video in videos if video["title"] == "clip.mp4")
    results = daemon.get(f"/prompt-runs/{run['run_id']}/results?video_id={clip['video_id']}")["data"]
    assert [round(result["start_time"]) for result in results] == [0, 2]


def check_export(daemon: Daemon) -> None:
    [file, manifest] = sorted((daemon.outgoing / "results").iterdir())
    [told] = json.loads(manifest.read_bytes())["files"]
    assert (told["name"], told["size_bytes"]) == (file.name, file.stat().st_size)
    artefact = json.loads(file.read_bytes())
    jsonschema.validate(artefact, json_schema())
    assert {item["video"]["title"] for item in artefact["media"]} == {
        "clip.mp4",
        "sound.wav",
        "picture.png",
        "nested.jpg",
    }
    [export] = daemon.get("/exports")
    assert export["status"] == "completed"
    assert export["destination_uri"].endswith(f"/outgoing/results/{file.name}")
    assert export["file_size_bytes"] == file.stat().st_size


def check_webhooks(daemon: Daemon, receiver: Receiver) -> None:
    assert receiver.all_signed(SECRET)
    told = Counter(
        r.event["event"] for r in {r.headers["X-Delivery-ID"]: r for r in receiver.received}.values()
    )
    assert told == {
        "import_job.started": 1,
        "import_job.partial_completed": 1,
        "media.created": 4,
        "media.processing.started": 4,
        "media.processing.completed": 4,
        "prompt_run.started": 1,
        "prompt_run.completed": 1,
        "export.ready": 1,
    }
    deliveries = daemon.get("/webhooks/wh_receiver/deliveries?limit=100")
    assert {delivery["status"] for delivery in deliveries} == {"delivered"}
    assert max(delivery["attempts"] for delivery in deliveries) == 2


def check_secrets(daemon: Daemon) -> None:
    """Planted secrets stand in no log and in no file of the daemon but the two that hold them."""
    holders = {daemon.base / "secret", daemon.state / "admin.key"}
    for path in daemon.base.rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in holders:
            content = path.read_bytes()
            assert SECRET.encode() not in content, path
            assert ADMIN_KEY.encode() not in content, path


def contents(folder: Path) -> dict[bytes, bytes]:
    """Every file below `folder`, by its path in bytes."""
    found = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return {os.fsencode(path): path.read_bytes() for path in found}


def check_power_loss_sim(daemon: Daemon, before: dict[bytes, bytes]) -> None:
    """Trap 28: what was imported is neither moved nor deleted nor touched, so no crash can lose it."""
    assert contents(daemon.incoming) == before


@pytest.mark.timeout(120)
def test_sparse_prealloc(make: Make, tmp_path: Path) -> None:
    """Trap 34: full size and quiet, yet empty inside: it is waited for, holds up no other, and is taken when filled."""
    daemon = make()
    with daemon:
        whole = samples.video(tmp_path / "whole.mp4", seconds=2).read_bytes()
        target = daemon.incoming / "clip.mp4"
        with target.open("wb") as file:
            file.truncate(len(whole))
        samples.image(daemon.incoming / "whole.png")
        wait_until(lambda: exported(daemon) == 1, "its neighbour is exported")
        assert daemon.get("/status")["work"]["settling"] == 1
        with target.open("r+b") as file:
            file.write(whole)
        wait_until(lambda: exported(daemon) == 2, "the filled file is exported")
    assert daemon.rows("select title, media_type from media") == [
        ("whole.png", "image"),
        ("clip.mp4", "video"),
    ]
    assert daemon.rows("select count(*) from import_files where status = 'failed'") == [(0,)]


@pytest.mark.timeout(60)
def test_the_service_manager_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        told: list[str] = []

        def hear(what: str) -> None:
            while not told or what not in told[-1]:
                told.append(manager.recv(4096).decode())

        with Daemon(tmp_path / "base", environ=environ) as daemon:
            assert daemon.process is not None
            hear("READY=1")
            hear("WATCHDOG=1")
            daemon.process.send_signal(signal.SIGHUP)
            hear("RELOADING=1\nMONOTONIC_USEC=")
            hear("READY=1")
            daemon.process.send_signal(signal.SIGTERM)
            hear("STOPPING=1")
            hear("EXTEND_TIMEOUT_USEC=")
            assert daemon.process.wait(20) == 0


@pytest.mark.timeout(120)
def test_a_restart_finds_what_came_meanwhile_and_repeats_nothing(make: Make) -> None:
    daemon = make()
    with daemon:
        samples.image(daemon.incoming / "first.png")
        wait_until(lambda: exported(daemon) == 1, "the first export")
        assert daemon.stop(signal.SIGINT) == 0
    samples.image(daemon.incoming / "second.png")
    with daemon:
        wait_until(lambda: exported(daemon) == 2, "the second export")
    assert daemon.rows("select key from media order by key") == [("first.png",), ("second.png",)]


def exported(daemon: Daemon) -> int:
    return len(daemon.rows("select id from exports where status = 'completed'"))


@pytest.mark.timeout(120)
def test_unmount_mid_run(make: Make) -> None:
    """Trap 21: a folder that disappears is said to be gone; when it returns nothing is done twice."""
    daemon = make()
    with daemon:
        samples.image(daemon.incoming / "a.png")
        wait_until(lambda: exported(daemon) == 1, "the first export")
        away = daemon.base / "away"
        daemon.incoming.rename(away)
        wait_until(lambda: bool(automation(daemon)["last_error"]), "the missing folder is told")
        samples.image(away / "b.png")
        away.rename(daemon.incoming)
        wait_until(lambda: exported(daemon) == 2, "the second export")
        wait_until(lambda: not automation(daemon)["last_error"], "the error is gone")
    assert daemon.rows("select key from media order by key") == [("a.png",), ("b.png",)]


@pytest.mark.timeout(120)
def test_a_folder_that_is_away_when_its_window_closes_is_waited_for(make: Make) -> None:
    daemon = make(debounce="2s")
    with daemon:
        samples.image(daemon.incoming / "a.png")
        wait_until(lambda: daemon.rows("select count(*) from windows") == [(1,)], "the window opens")
        daemon.incoming.rename(daemon.base / "away")
        attempts = "select max(attempts) from import_files"
        wait_until(lambda: (daemon.rows(attempts)[0][0] or 0) >= 2, "the import is tried again")
        (daemon.base / "away").rename(daemon.incoming)
        wait_until(lambda: exported(daemon) == 1, "the export", 60)
    assert daemon.rows("select status, imported from import_jobs") == [("completed", 1)]


def automation(daemon: Daemon) -> dict[str, str | None]:
    answer: dict[str, str | None] = daemon.get("/indexes/idx_main/automations/import")
    return answer


@pytest.mark.timeout(120)
def test_export_into_source(make: Make) -> None:
    """Trap 40: an export written into the watched folder is never picked up."""
    daemon = make()
    daemon.config.write_text(
        daemon.config.read_text().replace(f'path = "{daemon.outgoing}"', f'path = "{daemon.incoming}"')
    )
    with daemon:
        samples.image(daemon.incoming / "a.png")
        wait_until(lambda: exported(daemon) == 1, "the export")
        scans = automation(daemon)["last_scan_at"]
        wait_until(lambda: automation(daemon)["last_scan_at"] != scans, "another scan")
    assert daemon.rows("select key from import_files") == [("a.png",)]
    assert daemon.rows("select count(*) from windows") == [(1,)]


@pytest.mark.timeout(120)
def test_paused_stands_still_and_resume_catches_up(make: Make) -> None:
    daemon = make(debounce="3s")
    with daemon:
        samples.image(daemon.incoming / "a.png")
        wait_until(lambda: daemon.rows("select count(*) from windows") == [(1,)], "the window opens")
        status, paused = daemon.call("POST", "/indexes/idx_main/automations/import/pause")
        assert (status, paused["status"]) == (200, "paused")
        samples.image(daemon.incoming / "b.png")
        due = daemon.rows("select due_at from windows")[0][0]
        wait_until(lambda: time.time() > due + 1, "it is overdue")
        assert daemon.rows("select state from windows") == [("open",)]
        assert daemon.call("POST", "/indexes/idx_main/automations/import/resume")[1]["status"] == "active"
        wait_until(lambda: daemon.rows("select count(*) from media") == [(2,)], "both are imported")
    assert daemon.rows("select reason from windows order by seq")[0] == ("resumed",)


@pytest.mark.timeout(60)
def test_a_second_daemon_on_the_same_state_refuses(tmp_path: Path) -> None:
    """Trap 26, two_daemons_same_source, on one node: the database has one owner."""
    with Daemon(tmp_path) as first:
        second = Daemon(tmp_path)
        with pytest.raises(AssertionError, match="another process owns"):
            second.start()
        second.kill()
        assert first.get("/indexes")


@pytest.mark.timeout(60)
def test_reload_takes_over_or_keeps_the_old(make: Make) -> None:
    with make() as daemon:
        assert daemon.process is not None
        good = daemon.config.read_text()
        daemon.config.write_text(good + "\n[indexes.other]\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(daemon.get("/indexes")) == 2, "the new index")
        daemon.config.write_text(good + "\n[nonsense]\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "config.rejected" in daemon.log.read_text(), "the rejection is logged")
        assert len(daemon.get("/indexes")) == 2


@pytest.mark.timeout(90)
def test_a_second_signal_stops_at_once(make: Make) -> None:
    with make() as daemon:
        assert daemon.process is not None
        samples.video(daemon.incoming / "long.mp4", seconds=30, size=(640, 360))
        wait_until(
            lambda: daemon.rows("select count(*) from run_items where status = 'processing'") == [(1,)],
            "work",
        )
        daemon.process.send_signal(signal.SIGINT)
        wait_until(lambda: "daemon.draining" in daemon.log.read_text(), "it drains")
        assert daemon.stop(signal.SIGINT) in (0, 130)
