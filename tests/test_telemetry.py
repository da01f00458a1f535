from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.file_host import FileHost, onward
from vvwatch.daemon.wiring import report_database
from vvwatch.errors import StorageUnavailable, StoreUnavailable
from vvwatch.telemetry import CATALOGUE, Telemetry, configure_logging

ADMIN_KEY = "sk_live_" + "0123456789abcdef" * 3


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _other_loggers_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def logged(format_: str = "json", level: str = "info", *, keys: bool = True) -> tuple[Telemetry, io.StringIO]:
    stream = io.StringIO()
    return Telemetry("1.2.3", configure_logging(format_, level, stream, {}), keys=keys), stream


def heard(event: str, **fields: Any) -> Mapping[str, Any]:
    """What a subscriber hears of one event."""
    calls: list[Mapping[str, Any]] = []
    telemetry = Telemetry("1")
    telemetry.subscribe(lambda _event, told: calls.append(told))
    telemetry.emit(event, **fields)
    return calls[0]


def sample(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"vvwatch_{name}", labels)


def test_one_call_drives_the_line_the_metrics_and_the_listeners() -> None:
    telemetry, stream = logged()
    calls: list[tuple[str, Mapping[str, Any]]] = []
    end = telemetry.subscribe(lambda event, fields: calls.append((event, fields)))

    telemetry.emit("window.closed", automation="dailies", reason="quiet", objects=3)
    end()
    telemetry.emit("window.closed", reason="full")

    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "window.closed",
        "level": "info",
        "automation": "dailies",
        "reason": "quiet",
        "objects": 3,
    }
    assert second["reason"] == "full"
    assert calls == [("window.closed", {"automation": "dailies", "reason": "quiet", "objects": 3})]
    assert sample(telemetry, "windows_closed_total", reason="quiet") == 1


def test_an_event_that_is_not_in_the_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no event is called 'windw\.closed'"):
        Telemetry("1").emit("windw.closed")


@pytest.mark.parametrize("event", CATALOGUE)
def test_every_event_can_be_told_with_nothing_but_its_name(event: str) -> None:
    telemetry, stream = logged(level="debug")

    telemetry.emit(event)

    assert json.loads(stream.getvalue())["event"] == event
    assert telemetry.exposition()


def test_two_daemons_in_one_process_count_apart() -> None:
    first, second = Telemetry("1"), Telemetry("1")

    first.emit("import.file_finished", status="imported")

    assert sample(second, "import_files_total", status="imported") == 0


def test_the_exposition_is_prometheus_text_with_the_process_in_it() -> None:
    text = Telemetry("1.2.3").exposition().decode()

    assert 'vvwatch_build_info{version="1.2.3"} 1.0' in text
    assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize("format_", ["console", "journal", "json"])
def test_moments_in_fields_are_iso_8601(format_: str) -> None:
    """Day two: epoch floats stood beside ISO moments, in one answer and in the log."""
    telemetry, stream = logged(format_)
    telemetry.emit("window.opened", automation="a", due_at=1_790_000_000.5)
    assert "2026-09-21T14:13:20.500Z" in stream.getvalue()
    assert "1790000000" not in stream.getvalue()


def test_a_fault_is_spelt_out_with_its_hint() -> None:
    told = heard("scan.failed", error=StorageUnavailable("the folder is gone", "mount it"))

    assert told == {"error": "the folder is gone", "error_type": "StorageUnavailable", "hint": "mount it"}
    assert heard("scan.failed", error=TimeoutError())["error"] == "TimeoutError"


def test_only_a_fault_of_ours_shows_where_it_came_from() -> None:
    telemetry, stream = logged()
    try:
        raise KeyError("missing")
    except KeyError as error:
        telemetry.emit("job.failed", error=error)
    telemetry.emit("job.failed", error=StorageUnavailable("gone"))
    telemetry.emit("job.failed", error=ConnectionError("refused"))

    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert "Traceback" in first["exception"]
    assert "exception" not in second
    assert "exception" not in third


def test_a_level_below_the_threshold_is_not_written_but_heard() -> None:
    telemetry, stream = logged(level="warning")
    calls: list[str] = []
    telemetry.subscribe(lambda event, _: calls.append(event))

    telemetry.emit("window.opened")
    telemetry.emit("window.opened", level="error")

    assert len(stream.getvalue().splitlines()) == 1
    assert calls == ["window.opened"] * 2


@pytest.mark.parametrize("format_", ["console", "journal", "json"])
@pytest.mark.parametrize(
    "fields",
    [
        {"key": ADMIN_KEY},
        {"api_key": "hunter2hunter2"},
        {"webhook_secret": "hunter2hunter2"},
        {"token": "hunter2hunter2"},
        {"Password": "hunter2hunter2"},
        {"credentials": {"client_id": "hunter2hunter2"}},
        {"settings": {"nested": [{"secret": "hunter2hunter2"}]}},
        {"message": f"called with {ADMIN_KEY}"},
        {"request": {"headers": [f"X-API-Key: {ADMIN_KEY}"]}},
        {"message": "signed by whsec_hunter2hunter2+/="},
        {"object_key": ADMIN_KEY},
        {"error": RuntimeError(f"bad key {ADMIN_KEY}")},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_secrets_are_never_written(format_: str, fields: dict[str, Any]) -> None:
    telemetry, stream = logged(format_)

    telemetry.emit("daemon.started", **fields)

    assert "•••" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
    assert ADMIN_KEY not in stream.getvalue()
    assert "hunter2" not in str(heard("daemon.started", **fields))


def test_a_secret_in_a_traceback_is_masked() -> None:
    telemetry, stream = logged("console")
    try:
        raise RuntimeError(ADMIN_KEY)
    except RuntimeError as error:
        telemetry.emit("job.failed", error=error)

    assert "Traceback" in stream.getvalue()
    assert ADMIN_KEY not in stream.getvalue()


def test_object_keys_are_shown_unless_they_are_not_to_be() -> None:
    telemetry, stream = logged()
    telemetry.emit("window.opened", object_key="a/b.mp4")
    assert "a/b.mp4" in stream.getvalue()

    telemetry, stream = logged(keys=False)
    calls: list[Any] = []
    telemetry.subscribe(lambda _, fields: calls.append(fields["object_key"]))
    telemetry.emit("window.opened", object_key="a/b.mp4", uri="file:///a/b.mp4", prefix="a/")
    assert "a/" not in stream.getvalue()
    assert calls == ["a/b.mp4"]


@pytest.mark.parametrize("name", ["a/b.mp4", "it's b.mp4", 'b.mp4 "2"', """it's b.mp4 "2\""""])
@pytest.mark.parametrize("field", ["error", "reason", "message"])
def test_object_names_in_texts_are_not_shown_either(field: str, name: str) -> None:
    telemetry, stream = logged(keys=False)
    text = f"the folder's file {name!r} failed: no room"
    telemetry.emit("export.failed", **{field: text})

    said = json.loads(stream.getvalue()).get(field)
    assert said == (None if field == "message" else "the folder's file '…' failed: no room")
    assert heard("export.failed", **{field: text})[field] == text


def test_a_traceback_without_object_names_still_shows_where() -> None:
    telemetry, stream = logged(keys=False)
    try:
        raise KeyError("b" + ".mp4")
    except KeyError as error:
        telemetry.emit("job.failed", error=error)

    assert "test_telemetry.py" in json.loads(stream.getvalue())["exception"]
    assert "b.mp4" not in stream.getvalue()


@pytest.mark.parametrize("format_", ["console", "journal", "json"])
def test_a_hostile_name_stays_on_its_line(format_: str) -> None:
    telemetry, stream = logged(format_)

    telemetry.emit("window.opened", object_key='a\n<3>fake\r\x1b[31m\u202e\udcff="x" y')

    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue()[:-1].isprintable()
    assert "\\x1b" in stream.getvalue().replace("\\\\", "\\")


def test_the_journal_gets_priorities_and_words() -> None:
    telemetry, stream = logged("journal")

    telemetry.emit(
        "window.opened", automation="a", object_key="two words.mp4", hint='say "x"', n=1.5, none=None
    )
    telemetry.emit("scan.failed")
    telemetry.emit("export.failed", object_keys=["a", "é"])

    assert stream.getvalue().splitlines() == [
        '<6>window.opened automation=a object_key="two words.mp4" hint="say \\"x\\"" n=1.5',
        "<4>scan.failed",
        '<3>export.failed object_keys=["a", "é"]',
    ]


def test_a_traceback_in_the_journal_is_one_line() -> None:
    telemetry, stream = logged("journal")
    try:
        raise RuntimeError("broken")
    except RuntimeError as error:
        telemetry.emit("job.failed", error=error)

    [line] = stream.getvalue().splitlines()
    assert "Traceback" in line


@pytest.mark.parametrize(
    ("environ", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_a_terminal_gets_colours_unless_it_wants_none(environ: dict[str, str], colored: bool) -> None:
    stream = Terminal()

    Telemetry("1", configure_logging("auto", "info", stream, environ)).emit("window.opened", automation="a")

    assert ("\x1b[" in stream.getvalue()) is colored
    assert "window.opened" in stream.getvalue()


def test_a_pipe_gets_json() -> None:
    stream = io.StringIO()

    Telemetry("1", configure_logging("auto", "info", stream, {"JOURNAL_STREAM": "1:2"})).emit("daemon.ready")

    assert json.loads(stream.getvalue())["event"] == "daemon.ready"


def test_the_journal_is_known_by_its_stream(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}

        Telemetry("1", configure_logging("auto", "info", stream, environ)).emit("daemon.ready")

        assert (tmp_path / "log").read_text(encoding="utf-8") == "<6>daemon.ready\n"


def test_other_libraries_speak_through_the_same_log() -> None:
    _, stream = logged("journal")

    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("careful with %s", ADMIN_KEY)

    [line] = stream.getvalue().splitlines()
    assert line == '<4>log.recorded logger=some.library message="careful with sk_live_•••"'


def test_equal_warnings_of_libraries_are_written_once() -> None:
    _, stream = logged("journal")
    library = logging.getLogger("some.library")

    for number in range(1_000):
        library.warning("connection %d was reset", number)
        library.error(f"fatal error on transport <fd={number} at {number:#x}>")  # as asyncio does
        library.info("chatter")
    library.warning("something else")

    assert stream.getvalue().splitlines() == [
        '<4>log.recorded logger=some.library message="connection 0 was reset"',
        '<3>log.recorded logger=some.library message="fatal error on transport <fd=0 at 0x0>"',
        '<4>log.recorded logger=some.library message="something else"',
    ]


@pytest.mark.parametrize("client", ["httpx2", "httpx"])
def test_http_clients_log_neither_addresses_nor_headers_at_any_level(client: str) -> None:
    _, stream = logged(level="debug")
    with FileHost() as host:
        host.answers["/a"] = onward("/b?signature=pl4nted")

        answer = import_module(client).get(host.url("/a?signature=pl4nted"), trust_env=False)

    assert answer.headers["Location"] == "/b?signature=pl4nted"
    assert "pl4nted" not in stream.getvalue()


def test_configuring_twice_does_not_write_twice() -> None:
    _, first = logged()
    _, second = logged()

    logging.getLogger("some.library").warning("once")

    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8", buffering=1) as stream:
        telemetry = Telemetry("1", configure_logging("json", "info", stream, {}))
        telemetry.emit("daemon.ready")
        _discard(stream)
    telemetry.emit("daemon.ready")


def _discard(stream: io.TextIOBase) -> None:
    """Point the stream at nothing, so that closing it does not meet the broken pipe again."""
    with open(os.devnull, "w", encoding="utf-8") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), stream.fileno())


def test_a_stream_with_a_small_alphabet_gets_what_it_can_show() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")

    for format_ in ("journal", "json"):
        Telemetry("1", configure_logging(format_, "info", stream, {})).emit("daemon.ready", name="é")

    journal, document = raw.getvalue().splitlines()
    assert journal == b"<6>daemon.ready name=\\xe9"
    assert json.loads(document)["name"] == "é"


def test_lines_of_many_threads_stay_whole() -> None:
    telemetry, stream = logged()

    def work() -> None:
        for number in range(50):
            telemetry.emit(
                "import.file_finished", level="info", status="imported", number=number, pad="x" * 500
            )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len([json.loads(line) for line in stream.getvalue().splitlines()]) == 200
    assert sample(telemetry, "import_files_total", status="imported") == 200


def test_logging_is_configured_without_touching_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    Telemetry("1", configure_logging("json", "info", sys.stderr, {})).emit("daemon.ready")

    out, err = capfd.readouterr()
    assert out == ""
    assert "daemon.ready" in err


def test_a_database_that_is_away_is_logged_as_one_outage_however_many_meet_it() -> None:
    stream, now = io.StringIO(), 0.0
    log = configure_logging("json", "info", stream, {})
    telemetry = Telemetry("1", log, seconds=lambda: now)
    heard_of: list[str] = []
    telemetry.subscribe(lambda event, _: heard_of.append(event))
    away = StoreUnavailable("the database does not work: connection refused")

    for second in range(60):
        now = float(second)
        report_database(telemetry, away)
        telemetry.emit("task.failed", task="deletions", error=away)
        telemetry.emit("job.failed", kind="scan", ref="auto_x", attempt=1, error=away)
    report_database(telemetry, None)
    telemetry.emit("task.failed", task="deletions", error=away)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        "database.unavailable",
        "database.unavailable",
        "database.available",
        "task.failed",
    ]
    assert lines[1]["repeats"] == 29
    assert (lines[2]["outage_seconds"], lines[2]["failures"]) == (59.0, 60)
    assert len(heard_of) == 182, "whoever subscribes hears of everything"
    assert sample(telemetry, "errors_total", step="job", error_type="StoreUnavailable") == 60


def test_equal_troubles_of_a_task_are_logged_at_growing_intervals_and_another_at_once() -> None:
    stream, now = io.StringIO(), 0.0
    telemetry = Telemetry("1", configure_logging("json", "info", stream, {}), seconds=lambda: now)

    for second in range(120):
        now = float(second)
        telemetry.emit("task.failed", task="sweep", error=StorageUnavailable("gone"))
    telemetry.emit("task.failed", task="measure", error=StorageUnavailable("gone"))

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["task"], line.get("repeats", 0)) for line in lines] == [
        ("sweep", 0),
        ("sweep", 29),
        ("measure", 0),
    ]
