"""The configuration of `vvwatch dev`, built in memory from a folder."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vvwatch.cli.dev_processor import PromptOptions
from vvwatch.cli.failures import USAGE, Failure
from vvwatch.cli.local_daemon import is_answering
from vvwatch.config import Config, load
from vvwatch.core.durations import parse_duration
from vvwatch.core.filters import check_pattern
from vvwatch.errors import InvalidInput
from vvwatch.options.default_files import default_state_dir

_SCAN_INTERVAL: Final = "5s"
_SETTLE: Final = "1s"
_HASH_LENGTH: Final = 10
_OTHER_DAEMONS: Final = ("CONFIGURATION_DIRECTORY", "STATE_DIRECTORY")
_STILL_MEANT: Final = ("VVWATCH_ADMIN_KEY", "VVWATCH_ADMIN_KEY_FILE")


@dataclass(frozen=True, slots=True)
class DevSession:
    """A watched folder with its exports and state; all paths are absolute."""

    folder: Path
    exports: Path
    state_dir: Path
    pattern: str = "*"
    debounce: str = "3s"
    listen: str = "127.0.0.1:0"
    answering: PromptOptions | None = None

    @property
    def log_file(self) -> Path:
        """The daemon's log file; the terminal shows the progress."""
        return self.state_dir / "vvwatch.log"


def plan_session(
    folder: Path,
    exports: str | None,
    pattern: str,
    debounce: str,
    listen: str,
    environ: Mapping[str, str],
    answering: PromptOptions | None = None,
) -> DevSession:
    """Return the session on `folder`, creating its export folder. Raises Failure for unusable input."""
    _check_option(check_pattern, pattern, "--pattern")
    _check_option(_check_debounce, debounce, "--debounce")
    folder = _require_watchable(folder)
    target = _require_writable(Path(exports) if exports else folder.with_name(f"{folder.name}-exports"))
    return DevSession(folder, target, state_of(folder, environ), pattern, debounce, listen, answering)


def already_watched(trial: DevSession) -> Failure:
    """Return the failure of a second session on one folder."""
    hint = f"vvwatch status --state-dir {shlex.quote(str(trial.state_dir))}"
    return Failure("another vvwatch dev watches this folder", hint, where=str(trial.folder))


def forget_state(trial: DevSession) -> bool:
    """Remove the session's state; its files and exports stay. Return whether there was any.

    Raises Failure while a session runs.
    """
    if is_answering(trial.state_dir):
        raise already_watched(trial)
    try:
        shutil.rmtree(trial.state_dir)
    except FileNotFoundError:
        return False
    except OSError as error:
        message = f"cannot forget what was done: {error.strerror}"
        raise _unusable_folder(message, "remove the folder by hand", trial.state_dir) from error
    return True


def state_of(folder: Path, environ: Mapping[str, str]) -> Path:
    """Return where the session on `folder`, which is absolute and resolved, keeps its state."""
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:_HASH_LENGTH]
    return default_state_dir(_own_environment(environ)).absolute() / f"dev-{digest}"


def state_above(target: str, environ: Mapping[str, str]) -> Path | None:
    """Return the state of the running session on `target` or the nearest folder above it; None if none runs."""
    # A link is looked for where it stands, as the trial sees it, and not where it leads.
    above = Path(os.path.realpath(os.path.dirname(os.path.abspath(target))))  # noqa: PTH100, PTH120
    folders = (Path(os.path.realpath(target)), above, *above.parents)
    states = (state_of(folder, environ) for folder in folders)
    return next((state for state in states if is_answering(state)), None)


def build_config(trial: DevSession, environ: Mapping[str, str]) -> Config:
    """Return the configuration of the session. Raises ConfigInvalid."""
    folder = {"type": "local", "path": str(trial.folder), "scopes": ["import"]}
    exports = {"type": "local", "path": str(trial.exports), "scopes": ["export"]}
    automation = {
        "index": "dev",
        "connector": "folder",
        "pattern": trial.pattern,
        "debounce": trial.debounce,
        "settle": _SETTLE,
        "scan_interval": _SCAN_INTERVAL,
        "export": {"connector": "exports"},
        **({"prompt": trial.answering.preset} if trial.answering else {}),
    }
    overrides = {
        "listen": trial.listen,
        "state_dir": str(trial.state_dir),
        "allow_network_state_dir": True,  # homes of a network are common, and a trial has one daemon
        "log.format": "json",
        "log.level": "info",
        "local.roots": [str(trial.folder), str(trial.exports)],
        "connectors": {"folder": folder, "exports": exports},
        "indexes.dev.name": "dev",
        "automations.dev": automation,
        **(trial.answering.overrides if trial.answering else {}),
    }
    return load(None, _own_environment(environ), overrides)


def _own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables of a configured daemon."""
    return {
        name: value
        for name, value in environ.items()
        if name in _STILL_MEANT or (not name.startswith("VVWATCH_") and name not in _OTHER_DAEMONS)
    }


def _check_debounce(text: str) -> None:
    if parse_duration(text) < 1:
        raise InvalidInput(f"{text!r} is too short", "1s or longer")


def _check_option(check: Callable[[str], None], text: str, flag: str) -> None:
    try:
        check(text)
    except InvalidInput as error:
        raise Failure(error.message, error.hint, where=flag, exit_code=USAGE) from error


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents. Raises Failure."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise _unusable_folder(
            f"{str(folder)!r} is a file, not a folder", "name another folder", folder
        ) from None
    except OSError as error:
        message = f"cannot make the folder {str(folder)!r}: {error.strerror}"
        raise _unusable_folder(message, "name another folder", folder) from error


# Unlike the methods of Path, those of os.path answer where a folder on the way is closed or a link leads in circles.
def _require_watchable(folder: Path) -> Path:
    """Return `folder` resolved. Raises Failure unless it is a readable folder."""
    path = Path(os.path.realpath(folder))
    if not os.path.exists(path):  # noqa: PTH110
        raise _unusable_folder(
            f"there is no folder {str(folder)!r}", f"mkdir -p {shlex.quote(str(folder))}", path
        )
    if not os.path.isdir(path):  # noqa: PTH112
        raise _unusable_folder(
            f"{str(folder)!r} is a file, not a folder", f"vvwatch dev {folder.parent}", path
        )
    if not os.access(path, os.R_OK | os.X_OK):
        raise _unusable_folder(
            f"the folder {str(folder)!r} may not be read", f"chmod u+rx {shlex.quote(str(folder))}", path
        )
    if path == Path(path.anchor):
        raise _unusable_folder(
            "the root of the file system is too much to watch", "name a folder below it", path
        )
    return _require_utf8(path)


def _require_writable(folder: Path) -> Path:
    """Create the export folder and return it resolved. Raises Failure if it is not writable."""
    make_folder(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unusable_folder(
            f"the export folder {str(folder.absolute())!r} may not be written to",
            "choose another with --export-to DIR",
            folder.absolute(),
        )
    return _require_utf8(folder.resolve())


def _require_utf8(folder: Path) -> Path:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise _unusable_folder("the folder's name is not valid UTF-8", "rename it", folder) from None
    return folder


def _unusable_folder(message: str, hint: str, where: Path) -> Failure:
    return Failure(message, hint, where=str(where), exit_code=USAGE)
