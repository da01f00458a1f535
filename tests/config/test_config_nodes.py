from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from vvwatch.config import Config, Problem

Read = Callable[..., Config]
Problems = Callable[..., list[Problem]]

SHARED = {"VVWATCH_DATABASE_URL": "postgresql://h/media"}
NODE = '[node]\nname = "mine"\n'


def connector(path: str, options: str = "") -> str:
    return f'[connectors.a]\ntype = "local"\npath = "{path}"\n{options}\n'


def test_a_node_has_the_name_of_its_machine(read: Read) -> None:
    config = read("")

    assert config.node.name == socket.gethostname()
    assert config.node.heartbeat_seconds == 15
    assert read(NODE + "heartbeat = '5s'").node.heartbeat_seconds == 5


@pytest.mark.parametrize(
    ("host", "name"), [("a b/ä.local", "a-b--.local"), ("x" * 64, "x" * 63), ("", "node")]
)
def test_an_odd_host_name_becomes_a_plain_one(
    read: Read, monkeypatch: pytest.MonkeyPatch, host: str, name: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)

    assert read("").node.name == name


@pytest.mark.parametrize("name", ["", "a b", "a@b", "ä", "x" * 64, "a\\n"])
@pytest.mark.parametrize(
    ("text", "key"),
    [("[node]\nname = ", "node.name"), (connector("/srv", "node = ").strip() + " ", "connectors.a.node")],
)
def test_names_of_nodes_are_plain(problems: Problems, text: str, key: str, name: str) -> None:
    assert key in [problem.key for problem in problems(f'{text}"{name}"')]


@pytest.mark.parametrize("heartbeat", ["0.9s", "0s", "soon"])
def test_a_heart_beats_no_faster_than_every_second(problems: Problems, heartbeat: str) -> None:
    assert [problem.key for problem in problems(f'[node]\nheartbeat = "{heartbeat}"')] == ["node.heartbeat"]


@pytest.mark.parametrize("environ", [{}, SHARED], ids=["file", "server"])
def test_a_folder_is_everybodys_or_one_nodes(
    problems: Problems, media: Path, environ: dict[str, str]
) -> None:
    text = f'[local]\nroots = ["{media}"]\n' + connector(f"{media}/incoming", 'shared = true\nnode = "b"')

    [problem] = problems(text, environ)
    assert (problem.line, problem.key, problem.what) == (
        7,
        "connectors.a.node",
        "stands beside shared = true",
    )


def test_where_nodes_share_the_database_a_folder_says_whose_it_is(problems: Problems, media: Path) -> None:
    text = f'{NODE}[local]\nroots = ["{media}"]\n' + connector(f"{media}/incoming")

    [problem] = problems(text, SHARED)
    assert (problem.line, problem.key) == (5, "connectors.a")
    assert problem.allowed == 'node = "NAME" (this node is "mine"), shared = true'
    assert problem.hint.endswith("shared: each node mounts it at this path")
    for options in ("shared = true", 'node = "mine"', 'node = "theirs"'):
        assert problems(text + options, SHARED) == []


def test_with_a_database_of_its_own_a_daemon_has_every_folder(read: Read, media: Path) -> None:
    text = f'[local]\nroots = ["{media}"]\n' + connector(f"{media}/later")

    for options in ("", "shared = true", 'node = "theirs"'):
        [warning] = read(text + options).warnings
        assert warning.key == "connectors.a.path"


def test_the_folder_of_another_node_need_not_be_here(read: Read, problems: Problems, media: Path) -> None:
    (media / "file").touch()
    text = f'{NODE}[local]\nroots = ["{media}"]\n'

    for path in (f"{media}/later", f"{media}/file", "/elsewhere"):
        assert read(text + connector(path, 'node = "theirs"'), SHARED).warnings == ()
    for options in ('node = "mine"', "shared = true"):
        [warning] = read(text + connector(f"{media}/later", options), SHARED).warnings
        assert warning.key == "connectors.a.path"
        for path in (f"{media}/file", "/elsewhere"):
            [problem] = problems(text + connector(path, options), SHARED)
            assert problem.key == "connectors.a.path"


def test_a_wrong_address_of_the_database_says_nothing_about_folders(problems: Problems) -> None:
    found = problems(connector("/elsewhere", 'node = "theirs"'), {"VVWATCH_DATABASE_URL": "postgresql://h"})

    assert [problem.key for problem in found] == ["VVWATCH_DATABASE_URL"]


def test_exports_of_another_node_are_no_echo(read: Read, good: str) -> None:
    text = good.replace("[connectors.results]", 'scopes = ["import", "export"]\n[connectors.results]')
    text = NODE + text + 'export = { connector = "incoming", subpath = "out" }'

    for node, warnings in (("mine", 1), ("theirs", 0)):
        owned = re.sub(r'(type = "local")', rf'\1\nnode = "{node}"', text)
        assert len(read(owned, SHARED).warnings) == warnings


def test_an_automation_takes_its_share_of_what_is_done_at_once(
    read: Read, problems: Problems, good: str
) -> None:
    assert read(good).automations["main"].concurrency == 16
    assert read(good + "concurrency = 10000").automations["main"].concurrency == 10000
    for number in (0, 10001):
        [problem] = problems(f"{good}concurrency = {number}")
        assert (problem.line, problem.key) == (14, "automations.main.concurrency")


def test_what_is_over_is_kept_as_long_as_was_said(read: Read) -> None:
    kept = read("").retention
    assert (kept.events_seconds, kept.deliveries_seconds) == (90 * 86400, 30 * 86400)
    assert (kept.jobs_seconds, kept.results_seconds) == (None, None)

    kept = read(
        "[retention]\nevents = 'forever'\ndeliveries = '1h'\njobs = '1d12h'\nresults = '3650d'"
    ).retention
    assert (kept.events_seconds, kept.deliveries_seconds) == (None, 3600)
    assert (kept.jobs_seconds, kept.results_seconds) == (36 * 3600, 3650 * 86400)


@pytest.mark.parametrize("option", ["events", "deliveries", "jobs", "results"])
@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("'59m'", "'59m' is too short"),
        ("'0s'", "'0s' is too short"),
        ("'never'", "'never' is not a duration"),
        ("'Forever'", "'Forever' is not a duration"),
        ("'3651d'", "'3651d' is longer than ten years"),
    ],
)
def test_what_is_no_time_to_keep_is_refused(problems: Problems, option: str, value: str, what: str) -> None:
    [problem] = problems(f"[retention]\n{option} = {value}")

    assert (problem.line, problem.key, problem.what) == (2, f"retention.{option}", what)
    assert problem.allowed == "1h or longer, or forever"
