"""The client: which daemon, with which key, and what each way of failing comes to."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from itertools import chain
from pathlib import Path

import psutil
import pytest

from tests.cli.fake_daemon import KEY, FakeDaemon, refusal
from vvwatch.cli import local_daemon
from vvwatch.cli.client import Client, connect
from vvwatch.cli.failures import Failure
from vvwatch.cli.local_daemon import find_state_dir, note_watched


def test_the_address_and_the_key_are_those_the_daemon_left(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.answers["GET /api/v2/status"] = {"version": "1"}
    client = connect(None, str(tmp_path / "state"), None, {})
    assert client.get("/status", limit=3, state=None) == {"version": "1"}
    [asked] = daemon.asked
    assert (asked.key, asked.query) == (KEY, {"limit": "3"})


def test_a_key_in_the_environment_goes_first(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.answers["GET /api/v2/status"] = {}
    connect(daemon.url, None, None, {"VVWATCH_API_KEY": "other"}).get("/status")
    assert daemon.asked[0].key == "other"


def test_the_admin_key_that_a_daemon_was_given_in_a_container_serves_the_commands_there(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    (tmp_path / "given").write_text("sk_live_file\n")
    for environ, key in (
        ({"VVWATCH_ADMIN_KEY": "sk_live_text"}, "sk_live_text"),
        ({"VVWATCH_ADMIN_KEY_FILE": str(tmp_path / "given")}, "sk_live_file"),
        ({"VVWATCH_ADMIN_KEY": "sk_live_text", "VVWATCH_API_KEY": "mine"}, "mine"),
    ):
        client = connect(None, str(tmp_path / "state"), None, environ)
        assert client._headers(None)["X-API-Key"] == key


def test_a_key_in_a_file_goes_before_the_daemons_own(daemon: FakeDaemon, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk_live_mine\n")
    environ = {"VVWATCH_API_KEY_FILE": str(file), "VVWATCH_ADMIN_KEY": "sk_live_text"}
    assert connect(daemon.url, None, None, environ)._headers(None)["X-API-Key"] == "sk_live_mine"
    file.unlink()
    with pytest.raises(Failure, match="cannot read it") as caught:
        connect(daemon.url, None, None, environ)
    assert (caught.value.where, caught.value.exit_code) == (str(file), 77)


def test_the_key_that_a_daemon_was_given_is_read_where_it_says(daemon: FakeDaemon, tmp_path: Path) -> None:
    """A systemd credential: the key that an earlier start made is not valid any more."""
    state = tmp_path / "state"
    credential = tmp_path / "credentials" / "admin-key"
    credential.parent.mkdir()
    credential.write_text("sk_live_given\n")
    (state / "admin.key.source").write_text(f"{credential}\n")
    assert connect(None, str(state), None, {})._headers(None)["X-API-Key"] == "sk_live_given"
    credential.unlink()
    with pytest.raises(Failure) as caught:
        connect(None, str(state), None, {})
    assert caught.value.where == str(credential)
    assert "VVWATCH_API_KEY_FILE" in caught.value.hint


def test_the_variable_that_a_daemon_got_its_key_from_is_named(daemon: FakeDaemon, tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "admin.key.source").write_text("VVWATCH_ADMIN_KEY\n")
    with pytest.raises(Failure, match=r"given its admin key by \$VVWATCH_ADMIN_KEY") as caught:
        connect(None, str(state), None, {})
    assert caught.value.exit_code == 77


def test_https_to_a_server_that_speaks_http_says_so(daemon: FakeDaemon) -> None:
    url = daemon.url.replace("http://", "https://")
    with pytest.raises(Failure, match="the server speaks http, not https") as caught:
        Client(url).get("/status")
    assert caught.value.hint == f"write {daemon.url}"


def left_address(folder: Path, url: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "address").write_text(url + "\n")
    return folder


def test_a_trial_that_runs_is_found_where_no_daemon_does(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "states")}
    usual = tmp_path / "states" / "vvwatch"
    running = left_address(usual / "dev-1111111111", daemon.url)
    left_address(usual / "dev-2222222222", "http://127.0.0.1:9")  # ended long ago
    assert find_state_dir(None, None, environ) == running
    config = tmp_path / "vvwatch.toml"
    config.write_text("")
    assert find_state_dir(None, str(config), environ) == usual
    left_address(usual / "dev-3333333333", daemon.url)
    with pytest.raises(Failure, match="2 daemons of `vvwatch dev` run here") as caught:
        find_state_dir(None, None, environ)
    assert "dev-1111111111 or " in caught.value.hint
    folder, below = tmp_path / "clips", tmp_path / "clips" / "day-1" / "a"
    below.mkdir(parents=True)
    note_watched(running, folder)
    note_watched(usual / "dev-3333333333", folder / "day-1")
    with pytest.raises(Failure, match="2 daemons") as caught:
        find_state_dir(None, None, environ)
    assert f"dev-1111111111 ({folder}) or " in caught.value.hint
    for place, found in ((folder, "dev-1111111111"), (below, "dev-3333333333")):
        monkeypatch.chdir(place)
        assert find_state_dir(None, None, environ) == usual / found
    (usual / "address").write_text("http://127.0.0.1:9\n")
    assert find_state_dir(None, None, environ) == usual, "a daemon that is down is said to be down"


def test_the_state_of_the_service_is_found_with_its_own_file(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that is shipped names no state_dir: systemd does, but only to the daemon."""
    service = left_address(tmp_path / "lib", daemon.url)
    monkeypatch.setattr(local_daemon, "_SERVICE_STATE", service)
    config = tmp_path / "vvwatch.toml"
    config.write_text("")
    environ = {"HOME": str(tmp_path / "home")}
    assert find_state_dir(None, str(config), environ) == service
    assert find_state_dir(None, None, environ) == service
    assert find_state_dir("/given", str(config), environ) == Path("/given")


@pytest.mark.parametrize(
    "away", ["http://daemon.example:8787", "http://203.0.113.77:8787", "http://[2001:db8::7]"]
)
def test_the_key_of_this_machine_is_never_sent_elsewhere(
    daemon: FakeDaemon, tmp_path: Path, away: str
) -> None:
    here, there = (
        connect(url, str(tmp_path / "state"), None, {})._headers(None).get("X-API-Key")
        for url in (daemon.url, away)
    )
    assert here == KEY
    assert there is None


def test_a_daemon_on_another_address_of_this_machine_gets_its_key(daemon: FakeDaemon, tmp_path: Path) -> None:
    families = (socket.AF_INET, socket.AF_INET6)
    found = [each for each in chain(*psutil.net_if_addrs().values()) if each.family in families]
    addresses = [ip_address(each.address) for each in found if "%" not in each.address]
    for address in addresses:
        host = str(address) if address.version == 4 else f"[{address}]"
        (tmp_path / "state" / "address").write_text(f"http://{host}:1\n")
        client = connect(None, str(tmp_path / "state"), None, {})
        assert client._headers(None).get("X-API-Key") == KEY, address


@pytest.mark.parametrize("base", ["", "/", "/api/v2", "/api/v2/"])
def test_the_address_may_hold_the_path_of_the_api(daemon: FakeDaemon, base: str) -> None:
    daemon.answers["GET /api/v2/status"] = {}
    Client(daemon.url + base).get("/status")
    assert daemon.requests("GET") == ["/api/v2/status"]


def test_a_body_travels_as_json(daemon: FakeDaemon) -> None:
    daemon.answers["POST /api/v2/api-keys"] = (201, {"key": "x"})
    assert Client(daemon.url).post("/api-keys", {"name": "ü"}) == {"key": "x"}
    assert daemon.asked[0].body == {"name": "ü"}


@pytest.mark.parametrize(
    ("status", "code"), [(403, 77), (404, 1), (409, 1), (422, 1), (429, 75), (500, 1), (503, 69)]
)
def test_refusals_carry_message_hint_and_exit_code(daemon: FakeDaemon, status: int, code: int) -> None:
    daemon.answers["GET /api/v2/status"] = (status, refusal("x", "it says no", "ask again"))
    with pytest.raises(Failure) as caught:
        Client(daemon.url).get("/status")
    assert caught.value.message == "it says no"
    assert caught.value.hint == ("ask again" if status != 401 else caught.value.hint)
    assert caught.value.exit_code == code
    assert caught.value.where == "GET /status"


def test_a_refused_key_is_explained_by_where_keys_come_from(daemon: FakeDaemon) -> None:
    daemon.answers["GET /api/v2/status"] = (401, refusal("x", "an API key is needed", "send it as X-API-Key"))
    with pytest.raises(Failure) as caught:
        Client(daemon.url).get("/status")
    assert caught.value.hint.startswith("set VVWATCH_API_KEY")


def test_a_missing_resource_can_be_asked_for(daemon: FakeDaemon) -> None:
    daemon.answers["GET /api/v2/there"] = {"a": 1}
    daemon.answers["GET /api/v2/closed"] = (403, refusal("x", "no"))
    client = Client(daemon.url)
    assert client.find("/there") == {"a": 1}
    assert client.find("/gone") is None
    with pytest.raises(Failure):
        client.find("/closed")


@pytest.mark.parametrize(
    "answer", ["<html>hello</html>", (502, "Bad gateway"), (418, [1]), (400, {"error": "text"})]
)
def test_an_answer_that_is_not_a_daemons_is_told_as_such(daemon: FakeDaemon, answer: object) -> None:
    daemon.answers["GET /api/v2/status"] = answer
    with pytest.raises(Failure) as caught:
        Client(daemon.url).get("/status")
    assert caught.value.exit_code in (1, 69)
    assert caught.value.message


def test_silence_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Failure) as caught:
            Client(url).get("/status")
    assert caught.value.exit_code == 69
    assert caught.value.message == "no daemon answers: connection refused"
    assert caught.value.where == url


def test_a_server_that_hangs_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(Failure) as caught:
            Client(url, timeout_seconds=0.05).get("/status")
    assert caught.value.exit_code == 69


@pytest.mark.parametrize("url", ["127.0.0.1:8787", "ftp://x", "http://", "http://host:port", "http://[::1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    for named in (Client, lambda url: connect(url, "state", None, {})):
        with pytest.raises(Failure, match="is not the address of a daemon") as caught:
            named(url)
        assert caught.value.exit_code == 2


def test_without_a_daemon_the_place_looked_at_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        connect(None, str(tmp_path), None, {})
    assert caught.value.exit_code == 69
    assert caught.value.where == str(tmp_path / "address")


def test_a_key_that_may_not_be_read_is_no_permission(tmp_path: Path) -> None:
    (tmp_path / "address").write_text("http://127.0.0.1:1")
    (tmp_path / "admin.key").mkdir()
    with pytest.raises(Failure) as caught:
        connect(None, str(tmp_path), None, {})
    assert caught.value.exit_code == 77


def test_the_state_directory_is_found_as_the_daemon_finds_it(tmp_path: Path) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text('state_dir = "${BASE}/from-file"\nnonsense = 1\n')
    environ = {"HOME": "/h", "BASE": "/b"}
    assert find_state_dir(None, None, environ) == Path("/h/.local/state/vvwatch")
    assert find_state_dir(None, None, environ | {"STATE_DIRECTORY": "/var/lib/x"}) == Path("/var/lib/x")
    assert find_state_dir(None, str(file), environ) == Path("/b/from-file")
    assert find_state_dir(None, None, environ | {"VVWATCH_CONFIG": str(file)}) == Path("/b/from-file")
    assert find_state_dir(None, str(file), environ | {"VVWATCH_STATE_DIR": "/e"}) == Path("/e")
    assert find_state_dir("/flag", str(file), environ | {"VVWATCH_STATE_DIR": "/e"}) == Path("/flag")


@pytest.mark.parametrize("text", ["state_dir = [", "listen = 'x'", "state_dir = 5", "\xff"])
def test_a_broken_file_does_not_keep_commands_from_working(tmp_path: Path, text: str) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_bytes(text.encode("latin-1"))
    assert find_state_dir(None, str(file), {"HOME": "/h"}) == Path("/h/.local/state/vvwatch")
    assert find_state_dir(None, str(tmp_path / "gone.toml"), {"HOME": "/h"}) == Path(
        "/h/.local/state/vvwatch"
    )
