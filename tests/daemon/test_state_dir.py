"""The state directory is the daemon's alone, whatever the umask was and whatever somebody planted there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clock import FakeClock
from vvwatch import private_files
from vvwatch.config import load
from vvwatch.daemon.declaring import apply_declarations
from vvwatch.daemon.files import write_private
from vvwatch.daemon.state_dir import Prepared, prepare_state_dir
from vvwatch.daemon.wiring import build_components
from vvwatch.errors import VvwatchError
from vvwatch.providers.local.creation import create_file
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.documents import Document

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_whatever_is_made_is_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    state = tmp_path / "somewhere" / "state"
    config = load(None, {}, {"state_dir": str(state)})
    components = build_components(config, FakeClock(), Telemetry("test"), {})
    async with components.database.opened():
        components.clear_spool()
        await apply_declarations(components, config)
        await components.database.check()
        write_private(state / "address", "http://127.0.0.1:1")
        document = Document(lambda number: state / "exports" / f"exp.{number}.json", {"a": 1}, None)
        document.end()
        uploads = components.uploads.folder
        uploads.belongs_to("me")
        arriving = uploads.begin()
        arriving.write(b"x")
        uploads.place(arriving, "job/0/a.mp4")
        found = {path.relative_to(state.parent).as_posix(): mode(path) for path in state.parent.rglob("*")}
    wanted = {name: 0o700 if (state.parent / name).is_dir() else 0o600 for name in found}
    # the database's own side files are gone by now; they have its mode
    assert found == {name: (0o600 if "vvwatch.db-" in name else wanted[name]) for name in found}
    named = {
        "state/secret.key",
        "state/admin.key",
        "state/vvwatch.db",
        "state/vvwatch.db-wal",
        "state/address",
    }
    assert named | {"state/uploads/job/0/a.mp4", "state/exports/exp.1.json"} <= found.keys()
    assert mode(tmp_path / "somewhere") == 0o700


def test_what_others_could_enter_is_closed_and_said_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "spool").mkdir(parents=True)
    (state / "secret.key").write_text("x")
    for path, loose in ((state, 0o755), (state / "spool", 0o775), (state / "secret.key", 0o644)):
        path.chmod(loose)
    assert prepare_state_dir(state) == Prepared((str(state), "secret.key", "spool"))
    assert [mode(path) for path in (state, state / "spool", state / "secret.key")] == [0o700, 0o700, 0o600]
    assert prepare_state_dir(state) == Prepared()


def test_the_log_names_what_was_closed(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    config = load(None, {}, {"state_dir": str(tmp_path / "state")})
    telemetry, said = Telemetry("test"), []
    telemetry.subscribe(lambda event, fields: said.append((event, fields.get("names"))))
    for _ in range(2):
        build_components(config, FakeClock(), telemetry, {})
    assert [each for each in said if each[0].startswith("state_dir")] == [
        ("state_dir.closed", [str(tmp_path / "state")])
    ]


def test_a_state_directory_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk").chmod(0o755)
    (tmp_path / "state").symlink_to(tmp_path / "disk")
    assert prepare_state_dir(tmp_path / "state").closed == (str(tmp_path / "state"),)
    assert mode(tmp_path / "disk") == 0o700


@pytest.mark.parametrize("name", ["secret.key", "vvwatch.db", "spool", ".writable"])
def test_a_planted_link_is_refused_and_what_it_leads_to_is_left_alone(tmp_path: Path, name: str) -> None:
    state, victim = tmp_path / "state", tmp_path / "victim"
    state.mkdir()
    victim.write_text("precious")
    victim.chmod(0o644)
    (state / name).symlink_to(victim)
    if name == ".writable":  # our own probe replaces what is there under its name
        assert prepare_state_dir(state).closed == (str(state),)
    else:
        with pytest.raises(VvwatchError, match="symbolic link"):
            prepare_state_dir(state)
    assert (victim.read_text(), mode(victim)) == ("precious", 0o644)


def test_files_that_are_made_follow_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("a", ".b.part", "c.part"):
        (tmp_path / name).symlink_to(victim)
    with pytest.raises(FileExistsError):
        private_files.create_private(tmp_path / "a")
    private_files.replace_private(tmp_path / "b", b"own")
    document = Document(lambda _: tmp_path / "c.json", {"a": 1}, None)
    document.end()
    assert victim.read_text() == "precious"
    assert (tmp_path / "b").read_bytes() == b"own"
    assert not (tmp_path / "c.json").is_symlink()


def test_a_link_that_takes_the_place_of_a_draft_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    document = Document(lambda _: tmp_path / "c.json", {"a": 1}, None)
    (tmp_path / "c.part").unlink()
    (tmp_path / "c.part").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        document.end()
    assert victim.read_text() == "precious"


def test_an_export_into_a_folder_has_the_modes_of_that_folders_owner(tmp_path: Path, umask: int) -> None:
    """What is delivered is for others: there the umask decides, as for any program."""
    source = tmp_path / "source"
    source.write_bytes(b"x")
    folder = os.open(tmp_path, os.O_RDONLY)
    with source.open("rb") as file:
        create_file(folder, "out.json", file)
    os.close(folder)
    assert mode(tmp_path / "out.json") == 0o666 & ~umask


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of root, seen by a daemon that is another user in the group 65532."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory of root")
    folder = tmp_path / "volume"
    folder.mkdir()
    os.chown(folder, 0, 65532)
    monkeypatch.setattr(os, "geteuid", lambda: 65532)
    monkeypatch.setattr(os, "getgroups", lambda: [65532])
    return folder


@pytest.mark.parametrize("loose", [0o2777, 0o2770, 0o1777, 0o775])
def test_a_volume_of_the_platform_is_used_and_doubted(volume: Path, loose: int) -> None:
    volume.chmod(loose)
    found = prepare_state_dir(volume)
    assert (found.closed, mode(volume)) == ((), loose)
    assert f"mode {loose:o}" in found.doubt


def test_a_directory_of_another_in_which_everybody_may_write_is_refused(volume: Path) -> None:
    volume.chmod(0o777)
    with pytest.raises(VvwatchError, match="everybody may write") as refused:
        prepare_state_dir(volume)
    assert "chown 65532" in refused.value.hint
