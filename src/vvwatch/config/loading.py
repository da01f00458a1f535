"""Load the configuration from a file, the environment and flags, or report all its problems."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vvwatch.config.checked import Checked
from vvwatch.config.files import (
    SecretReader,
    inline_schemas,
    read_admin_key,
    read_secret_variable,
    warn_of_visible_password,
)
from vvwatch.config.models import Config
from vvwatch.config.reading import validate
from vvwatch.config.rules import all_findings
from vvwatch.errors import ConfigInvalid, Problem
from vvwatch.options.default_files import default_path, default_state_dir
from vvwatch.options.findings import Finding, Loc, find_closest, key_lines, nearest_line
from vvwatch.options.substitution import find_variables, substitute

ENVIRONMENT: Final = {
    "VVWATCH_LISTEN": ("listen",),
    "VVWATCH_STATE_DIR": ("state_dir",),
    "VVWATCH_DATABASE_URL": ("database_url",),
    "VVWATCH_LOG_FORMAT": ("log", "format"),
    "VVWATCH_LOG_LEVEL": ("log", "level"),
}
"""Environment variables that set an option."""
_PREFIX: Final = "VVWATCH_"
_OTHER_VARIABLES: Final = (
    "VVWATCH_CONFIG",
    "VVWATCH_DATABASE_URL_FILE",
    "VVWATCH_ADMIN_KEY",
    "VVWATCH_ADMIN_KEY_FILE",
    "VVWATCH_SECRET_KEY",
    "VVWATCH_SECRET_KEY_FILE",
    "VVWATCH_API_KEY",
    "VVWATCH_API_KEY_FILE",
    "VVWATCH_URL",
)
"""Environment variables that set no option: files, the daemon's secrets, and the client's address."""
_SYNTAX_LINE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def load(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object] | None = None
) -> Config:
    """Return the configuration: defaults < file < environment < `overrides`.

    Without `path` the file is $VVWATCH_CONFIG, else vvwatch.toml in $CONFIGURATION_DIRECTORY if it exists, else none.
    `overrides` maps dotted keys (`log.level`) to values or tables; None leaves a key alone. Raises ConfigInvalid with
    all problems found.
    """
    draft = _ConfigReader(path or default_path(environ), environ)
    try:
        draft.read_file()
        draft.add_environment()
        draft.add_overrides(overrides or {})
        return draft.finish()
    except RecursionError:
        problem = Problem(str(draft.path), None, "", "is nested too deeply")
        raise ConfigInvalid((*draft.problems, problem)) from None


@dataclass(repr=False)
class _ConfigReader:
    """A configuration being loaded: its document, the origin of its parts, and its faults.

    Document and environment hold secrets, so it has no repr.
    """

    path: Path | None
    environ: Mapping[str, str]
    document: dict[str, Any] = field(default_factory=dict)
    lines: dict[Loc, int] = field(default_factory=dict)
    origins: dict[Loc, tuple[str, str]] = field(default_factory=dict)
    wrong: set[Loc] = field(default_factory=set)
    found: list[Finding] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def read_file(self) -> None:
        """Read the file's document, fill in its variables, and record the lines of its keys."""
        text = self._text() if self.path else ""
        try:
            document = tomllib.loads(text)
        except ValueError as error:
            document = {}
            self._syntax(error, text)
        else:
            self.lines = key_lines(text)
        self._warn_of_misspelt_variables(find_variables(document))
        if self.path:
            warn_of_visible_password(document, self.path, self.found.append)
        self.document = substitute(document, self.environ, self.found.append)
        self._settle()

    def add_environment(self) -> None:
        """Set options from variables. An empty variable is a mistake, never a default."""
        for name in sorted({*ENVIRONMENT, *_OTHER_VARIABLES} & self.environ.keys()):
            if not self.environ[name]:
                self.found.append(Finding((name,), "is set and empty", hint="give it a value, or unset it"))
        if "state_dir" not in self.document:
            self._put(("state_dir",), str(default_state_dir(self.environ)), ("defaults", "state_dir"))
        for name, loc in ENVIRONMENT.items():
            if value := self.environ.get(name):
                self._put(loc, value, ("environment", name))
        name, url = read_secret_variable("VVWATCH_DATABASE_URL", self.environ, self.found.append)
        if url is not None:
            self._put(("database_url",), url.reveal(), ("environment", name))

    def add_overrides(self, overrides: Mapping[str, object]) -> None:
        """Set options from flags, by dotted key."""
        for key, value in overrides.items():
            if value is not None:
                self._put(tuple(key.split(".")), value, ("flags", key))

    def finish(self) -> Config:
        """Check everything. Raises ConfigInvalid."""
        folder = self.path.parent if self.path else Path()
        inline_schemas(self.document, folder, self.found.append)
        self._settle()
        settings, findings = validate(self.document)
        self.found += findings
        self._settle()
        self.found += all_findings(Checked(settings, self.document, frozenset(self.wrong)))
        reader = SecretReader(folder, self.environ, self.found.append)
        secrets: dict[str, Any] = {
            "webhook_secrets": reader.webhooks(settings),
            "alert_secrets": reader.alerts(settings),
            "alert_signing_secrets": reader.alert_signing(settings),
            "connector_secrets": reader.connectors(settings),
            "processor_secrets": reader.processors(settings),
            "admin_key": read_admin_key(self.environ, self.found.append),
        }
        self._settle()
        if self.problems:
            raise ConfigInvalid(tuple(sorted(self.problems, key=_sort_key)))
        warnings = tuple(sorted(self.warnings, key=_sort_key))
        return Config.model_construct(**dict(settings), path=self.path, warnings=warnings, **secrets)

    def _text(self) -> str:
        content = b""
        try:
            content = Path(str(self.path)).read_bytes()
            return content.decode("utf-8-sig")
        except OSError as error:
            hint = f"let user id {os.geteuid()} read it" if isinstance(error, PermissionError) else ""
            self.problems.append(
                Problem(str(self.path), None, "", f"cannot be read: {error.strerror}", hint=hint)
            )
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            self.problems.append(Problem(str(self.path), line, "", "is not UTF-8 text"))
        return ""

    def _syntax(self, error: Exception, text: str) -> None:
        message = str(error)
        place = _SYNTAX_LINE.search(message)
        line = int(place[1]) if place and place[1] else len(text.splitlines())
        what = f"is not TOML: {_SYNTAX_LINE.sub('', message)}"
        self.problems.append(Problem(str(self.path), line, "", what))

    def _put(self, loc: Loc, value: object, origin: tuple[str, str]) -> None:
        """Set one option, or each option of a table."""
        table: Any = self.document
        for step in loc[:-1]:
            table = table.setdefault(step, {})
            if not isinstance(table, dict):
                return
        if isinstance(value, Mapping):
            table.setdefault(loc[-1], {})
            for key, item in value.items():
                self._put((*loc, key), item, (origin[0], f"{origin[1]}.{key}"))
            return
        table[loc[-1]] = value
        self.origins[loc] = origin
        self.wrong -= {each for each in self.wrong if each[: len(loc)] == loc}

    def _warn_of_misspelt_variables(self, used: set[str]) -> None:
        known = {*ENVIRONMENT, *_OTHER_VARIABLES}
        endings = {name.removeprefix(_PREFIX): name for name in known}
        for name in sorted(self.environ.keys() - known - used):
            ending = name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else ""
            if close := find_closest(ending, endings):
                hint = f"did you mean {endings[close]!r}?"
                self.warnings.append(Problem("environment", None, name, "has no meaning", hint=hint))

    def _settle(self) -> None:
        """Turn findings into problems, without those that only follow from an earlier one at the same place."""
        for finding in self.found:
            if finding.loc not in self.wrong:
                (self.warnings if finding.warning else self.problems).append(self._problem(finding))
        self.wrong |= {finding.loc for finding in self.found if not finding.warning}
        self.found.clear()

    def _problem(self, finding: Finding) -> Problem:
        loc, _, allowed, hint, _ = finding
        file = str(self.path) if self.path else "flags"
        key, line = _join_path(loc), nearest_line(self.lines, loc)
        for length in range(len(loc), 0, -1):
            if loc[:length] in self.origins:
                (file, key), line = self.origins[loc[:length]], None
                break
        if str(loc[0]).startswith("VVWATCH_"):
            file = "environment"
        return Problem(file, line, key, finding.what, allowed, hint)


def _join_path(loc: Loc) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc).lstrip(".")


def _sort_key(problem: Problem) -> tuple[bool, int]:
    """Return the order of the file; other sources come after it."""
    return problem.line is None, problem.line or 0
