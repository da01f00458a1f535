"""What `vvwatch dev` makes of a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from vvwatch.cli.dev_config import DevSession, build_config, plan_session
from vvwatch.cli.failures import Failure

ENVIRON = {"HOME": "/home/somebody"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "clips"
    path.mkdir()
    return path


def plan(folder: Path, **changed: Any) -> DevSession:
    usual: dict[str, Any] = {
        "exports": None,
        "pattern": "*",
        "debounce": "3s",
        "listen": "127.0.0.1:0",
        "environ": ENVIRON,
    }
    return plan_session(folder, **usual | changed)


def test_exports_go_beside_the_folder(folder: Path) -> None:
    trial = plan(folder)
    assert trial.exports == folder.with_name("clips-exports")
    assert trial.exports.is_dir()
    assert plan(folder, exports=str(folder / "deep" / "out")).exports == folder / "deep" / "out"


def test_the_same_folder_has_the_same_state_by_whatever_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias = folder.with_name("alias")
    alias.symlink_to(folder)
    monkeypatch.chdir(folder.parent)
    found = {plan(path).state_dir for path in (folder, alias, Path("clips"), Path("clips/../clips/"))}
    assert len(found) == 1
    other = folder.with_name("other")
    other.mkdir()
    assert plan(other).state_dir not in found
    [state_dir] = found
    assert state_dir.parent == Path("/home/somebody/.local/state/vvwatch")
    assert state_dir.name.startswith("dev-")
    assert plan(folder, environ={"XDG_STATE_HOME": "/x"}).state_dir.parent == Path("/x/vvwatch")


def test_the_configuration_watches_the_folder_and_exports_elsewhere(folder: Path) -> None:
    trial = plan(folder, pattern="*.{mp4,mov}", debounce="1m30s")
    config = build_config(trial, ENVIRON)
    assert config.state_dir == trial.state_dir
    assert config.local.roots == (trial.folder, trial.exports)
    assert config.address == ("127.0.0.1", 0)
    automation = config.automations["dev"]
    assert (automation.pattern, automation.quiet_seconds, automation.settle_seconds) == ("*.{mp4,mov}", 90, 1)
    assert automation.max_wait_seconds == 540
    assert config.connectors[automation.connector].location == {"root": str(trial.folder)}
    assert automation.export is not None
    assert config.connectors[automation.export.connector].location == {"root": str(trial.exports)}
    assert config.connectors[automation.export.connector].scopes == ("export",)


def test_a_configured_daemon_of_the_same_user_is_left_alone(folder: Path) -> None:
    theirs = {
        "VVWATCH_CONFIG": "/etc/vvwatch/vvwatch.toml",
        "VVWATCH_DATABASE_URL": "sqlite:////srv/theirs.db",
        "VVWATCH_STATE_DIR": "/srv/theirs",
        "STATE_DIRECTORY": "/srv/theirs",
        "CONFIGURATION_DIRECTORY": "/etc/vvwatch",
    }
    environ = ENVIRON | theirs
    config = build_config(plan(folder, environ=environ), environ)
    assert config.path is None
    assert config.database_path.is_relative_to("/home/somebody")


def test_a_folder_with_an_odd_name_can_be_watched(tmp_path: Path) -> None:
    folder = tmp_path / "my $HOME ${clips} é 🎬"
    folder.mkdir()
    trial = plan(folder)
    assert build_config(trial, ENVIRON).connectors["folder"].location == {"root": str(folder)}


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [("gone", "there is no folder", "mkdir -p"), ("file", "is a file, not a folder", "vvwatch dev")],
)
def test_what_is_no_folder_is_refused(folder: Path, name: str, message: str, hint: str) -> None:
    (folder / "file").touch()
    with pytest.raises(Failure, match=message) as caught:
        plan(folder / name)
    assert caught.value.exit_code == 2
    assert hint in caught.value.hint
    assert caught.value.where == str(folder / name)


def test_a_folder_that_may_not_be_read_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK | os.X_OK)
    with pytest.raises(Failure, match="may not be read"):
        plan(folder)


def test_a_link_that_leads_in_circles_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(Failure, match="there is no folder"):
        plan(tmp_path / "loop")


def test_the_root_of_the_file_system_is_refused() -> None:
    with pytest.raises(Failure, match="too much to watch"):
        plan(Path("/"))


def test_a_folder_whose_name_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"bad\xff")
    folder.mkdir()
    with pytest.raises(Failure, match="not valid UTF-8"):
        plan(folder)


def test_an_export_folder_that_cannot_be_used_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").touch()
    with pytest.raises(Failure, match="is a file, not a folder"):
        plan(folder, exports=str(folder / "file"))
    with pytest.raises(Failure, match="cannot make the folder"):
        plan(folder, exports=str(folder / "file" / "below"))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK | os.X_OK)
    with pytest.raises(Failure, match="may not be written to") as caught:
        plan(folder, exports=str(folder / "closed"))
    assert "--export-to DIR" in caught.value.hint


@pytest.mark.parametrize(
    ("changed", "flag"),
    [
        ({"pattern": "[a"}, "--pattern"),
        ({"pattern": ""}, "--pattern"),
        ({"debounce": "soon"}, "--debounce"),
        ({"debounce": "0.5s"}, "--debounce"),
        ({"debounce": "3"}, "--debounce"),
    ],
)
def test_a_bad_glob_or_duration_names_its_option(folder: Path, changed: dict[str, str], flag: str) -> None:
    with pytest.raises(Failure) as caught:
        plan(folder, **changed)
    assert (caught.value.where, caught.value.exit_code) == (flag, 2)
    assert caught.value.hint
    assert not folder.with_name("clips-exports").exists()
