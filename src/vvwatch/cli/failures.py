"""Reports a failed command on stderr, with the place and a remedy, and chooses its exit code."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import click

from vvwatch.cli.output import to_json
from vvwatch.errors import ConfigInvalid, SchemaTooNew, SecretKeyMismatch, VvwatchError

FAILURE = 1
USAGE = 2
UNREACHABLE = os.EX_UNAVAILABLE
TRY_LATER = os.EX_TEMPFAIL
REFUSED = os.EX_NOPERM
INVALID_CONFIG = os.EX_CONFIG
INTERRUPTED = 130

_CODES: Final = {
    USAGE: "usage",
    UNREACHABLE: "unreachable",
    TRY_LATER: "try_later",
    REFUSED: "refused",
    INVALID_CONFIG: "config_invalid",
    INTERRUPTED: "interrupted",
}
"""Exit codes to the codes of errors that have no code of their own."""


class Failure(VvwatchError):
    """Raised when a command fails; `where` names the place, `exit_code` is for the shell, `reason` for programs."""

    def __init__(
        self, message: str, hint: str = "", *, where: str = "", exit_code: int = FAILURE, reason: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.where = where
        self.exit_code = exit_code
        self.reason = reason


def report_failure(error: BaseException, *, debug: bool = False, as_json: bool = False) -> int:
    """Print the error on stderr and return the exit code; print a traceback only with `debug`.

    With `as_json` the error is one line of JSON, the last one of stderr.
    """
    error = _find_cause(error)
    if debug:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    lines = [to_json(failure_document(error))] if as_json else failure_lines(error)
    for line in lines:
        click.echo(line, err=True)
    return _exit_code(error)


def failure_document(error: BaseException) -> dict[str, Any]:
    """Return `error`, `where` and `try` (None if unknown), `code` and `exit_code`; of a configuration `problems`."""
    message, where, hint = _describe(error)
    found: dict[str, Any] = {
        "error": message,
        "where": where or None,
        "try": hint or None,
        "code": _error_code(error),
        "exit_code": _exit_code(error),
    }
    if isinstance(error, ConfigInvalid):
        found["problems"] = [asdict(problem) for problem in error.problems]
    return found


def _describe(error: BaseException) -> tuple[str, str, str]:
    """Return what is wrong, where, and what to try."""
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        return "interrupted", "", ""
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        is_help = isinstance(error, click.exceptions.NoArgsIsHelpError)
        message = "a command is missing" if is_help else _decapitalize(error.format_message())
        return message, "", f"{context.command_path} --help" if context else ""
    if isinstance(error, ConfigInvalid):
        count = len(error.problems)
        hint = "the same command with --help" if _is_usage(error) else error.hint
        message = f"the configuration has {count} problem{'s' if count > 1 else ''}"
        return message, str(error.problems[0]) if count == 1 else "", hint
    if isinstance(error, VvwatchError):
        return error.message, error.where if isinstance(error, Failure) else "", error.hint
    return (
        f"{type(error).__name__}: {error}",
        "",
        "the same command as `vvwatch --debug …`, for the traceback",
    )


def _error_code(error: BaseException) -> str:
    if isinstance(error, Failure) and error.reason:
        return error.reason
    if isinstance(error, VvwatchError) and not isinstance(error, Failure):
        return "usage" if isinstance(error, ConfigInvalid) and _is_usage(error) else error.code
    if isinstance(error, Failure | click.ClickException | click.exceptions.Abort | KeyboardInterrupt):
        return _CODES.get(_exit_code(error), "failed")
    return "internal_error"


def failure_lines(error: BaseException) -> Iterator[str]:
    """Return `error: what`, `  where: place` and `  try: command`, without unknown parts."""
    message, where, hint = _describe(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        yield error.format_message()
    elif isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        yield message
    else:
        places = error.problems if isinstance(error, ConfigInvalid) else filter(None, (where,))
        yield f"error: {message}"
        yield from (f"  where: {place}" for place in places)
        yield from (f"  try: {each}" for each in filter(None, (hint,)))


def _decapitalize(text: str) -> str:
    """Return a message of click in our style: lower case, no full stop."""
    text = text.strip().removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _find_cause(error: BaseException) -> BaseException:
    """Return the single error in nested groups of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _is_usage(error: ConfigInvalid) -> bool:
    """Return whether only the command line is wrong (--state-dir may also be wrong because of the folder)."""
    return all(problem.file == "flags" and problem.key != "state_dir" for problem in error.problems)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, Failure):
        return error.exit_code
    if isinstance(error, ConfigInvalid):
        return USAGE if _is_usage(error) else INVALID_CONFIG
    if isinstance(error, SchemaTooNew | SecretKeyMismatch):
        return INVALID_CONFIG  # as long as nobody mends that, a restart meets it again
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        return INTERRUPTED
    return error.exit_code if isinstance(error, click.ClickException) else FAILURE
