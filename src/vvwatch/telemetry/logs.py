"""Log lines: for people at a terminal, for the journal, or as JSON; secrets in them are masked."""

from __future__ import annotations

import codecs
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from vvwatch.core.repeats import Repeats, Report

FORMATS: Final = ("auto", "console", "journal", "json")
_INDISCREET: Final = ("httpcore", "httpcore2", "httpx", "httpx2", "urllib3")
"""Libraries that log whole addresses and headers, with signatures and cookies. VideoVector's SDK uses the old ones."""
_NUMBER: Final = re.compile(r"0x[0-9a-f]+|\d+")
_COMPLAINT_CHARACTERS: Final = 200
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

_Fields = MutableMapping[str, Any]


def configure_logging(
    format: str,  # noqa: A002 - as the option is called
    level: str,
    stream: TextIO,
    environ: Mapping[str, str] = os.environ,
) -> FilteringBoundLogger:
    """Return the logger that writes to `stream`; it also gets warnings and errors of other libraries.

    `format` is `console`, `journal`, `json`, or `auto`: what suits the stream. A broken stream is ignored: nobody reads
    it any more, and the work goes on.
    """
    chosen = choose_format(stream, environ) if format == "auto" else format
    number = logging.getLevelNamesMapping()[level.upper()]
    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Writer(stream),
        processors=[structlog.processors.add_log_level, *_build_renderers(chosen, stream, environ)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        context_class=dict,
    ).bind()
    _bridge(logger, max(number, logging.WARNING) if number > logging.DEBUG else number)
    return logger


def choose_format(stream: TextIO, environ: Mapping[str, str]) -> str:
    """Return `console` for a terminal, `journal` if the journal reads the stream, else `json`."""
    if stream.isatty():
        return "console"
    return "journal" if _reaches_journal(stream, environ) else "json"


def _reaches_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _build_renderers(format_: str, stream: TextIO, environ: Mapping[str, str]) -> list[Processor]:
    if format_ == "console":
        renderer = structlog.dev.ConsoleRenderer(
            colors=_wants_colors(stream, environ), exception_formatter=structlog.dev.plain_traceback
        )
        return [structlog.processors.TimeStamper("%H:%M:%S", utc=False), renderer]
    if format_ == "journal":
        return [structlog.processors.format_exc_info, _journal_line]
    return [
        structlog.processors.TimeStamper("iso", utc=True),
        structlog.processors.format_exc_info,
        # JSON escapes keep the line valid if the stream cannot encode everything.
        structlog.processors.JSONRenderer(default=str, ensure_ascii=_encoding(stream) != "utf-8"),
    ]


def _encoding(stream: TextIO) -> str:
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name


def _wants_colors(stream: TextIO, environ: Mapping[str, str]) -> bool:
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (stream.isatty() and environ.get("TERM") != "dumb")


def _journal_line(_logger: Any, _method: str, fields: _Fields) -> str:
    """Return `<priority>event key=value …`: one line without a time, which the journal adds."""
    priority = _PRIORITIES[fields.pop("level")]
    words = [str(fields.pop("event")), *(f"{name}={_word(value)}" for name, value in fields.items())]
    return f"<{priority}>{' '.join(words)}"


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    plain = text and text.isprintable() and not any(sign in text for sign in ' "=\\')
    return text if plain or not isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class _Writer:
    """Writes lines to the stream, whole and in order, from any thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = _encoding(stream)
        self._lock = threading.Lock()

    def msg(self, line: str) -> None:
        """Write one event; characters that the stream cannot encode are escaped."""
        shown = mask(line).encode(self._encoding, "backslashreplace").decode(self._encoding)
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(f"{shown}\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = log = msg


class _Bridge(logging.Handler):
    """Carries the records of other libraries to our logger.

    Of warnings and errors that differ at most in numbers it writes the first, then some with the number left out since:
    a stranger can make a library complain of every packet.
    """

    def __init__(self, logger: FilteringBoundLogger, seconds: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._logger = logger
        self._seconds = seconds
        self._repeats = Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        new = Report(0, 0.0)
        if record.levelno >= logging.WARNING:
            fault = record.exc_info[0] if record.exc_info else None
            complaint = _NUMBER.sub("#", str(record.msg))[:_COMPLAINT_CHARACTERS]
            found = self._repeats.note((record.name, record.lineno, complaint, fault), self._seconds())
            if found is None:
                return
            new = found
        more = (
            {"repeats": new.unreported, "lasts_seconds": round(new.lasts_seconds)}
            if new.lasts_seconds
            else {}
        )
        fields = redact({"logger": record.name, "message": record.getMessage()})
        self._logger.log(record.levelno, "log.recorded", **fields, **more, exc_info=record.exc_info)


def _bridge(logger: FilteringBoundLogger, level: int) -> None:
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(logger))
    root.setLevel(level)
    for name in _INDISCREET:
        logging.getLogger(name).setLevel(logging.WARNING)


MASK: Final = "•••"
_SECRET_NAME: Final = re.compile(r"(?:key|secret|token|password|credentials)s?$", re.IGNORECASE)
_SECRET_TEXT: Final = re.compile(r"(sk_live_|whsec_)[A-Za-z0-9+/=_-]+")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_OBJECT_NAMES: Final = frozenset({"object_key", "object_keys", "prefix", "uri", "path", "title"})
_SPEAKING: Final = frozenset({"error", "reason"})
# As `repr` quotes: with the mark that the text lacks. An apostrophe within a word opens no quote.
_QUOTED: Final = re.compile(r"""(?<!\w)'(?:[^'\\]|\\.)*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$)""")


def redact(fields: Mapping[Any, Any]) -> dict[str, Any]:
    """Return `fields` with secrets masked (by name, and inside texts) and control characters escaped.

    `object_key` and `object_keys` name objects of a store and are shown. Names that are tuples, those of measurements
    by several labels, become texts.
    """
    named = ((_to_name(name), value) for name, value in fields.items())
    return {name: MASK if _is_secret(name) else _clean(value) for name, value in named}


def _to_name(name: Any) -> str:
    return name if isinstance(name, str) else " ".join(filter(None, map(str, name)))


def drop_object_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return `fields` without names of objects, which may be a customer's data.

    Fields that name an object are masked, quotes in `error` and `reason` are cut out, and `message`, which may say
    anything about an object, is left out.
    """
    return {name: _drop_name(name, value) for name, value in fields.items() if name != "message"}


def mask(text: str) -> str:
    """Return `text` with everything masked that looks like an API key or a webhook secret."""
    return _SECRET_TEXT.sub(rf"\1{MASK}", text)


def _drop_name(name: str, value: Any) -> Any:
    if name in _OBJECT_NAMES:
        return MASK
    return _QUOTED.sub("'…'", value) if name in _SPEAKING and isinstance(value, str) else value


def _is_secret(name: str) -> bool:
    return name not in _OBJECT_NAMES and _SECRET_NAME.search(name) is not None


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _UNPRINTABLE.sub(lambda match: match.group().encode("unicode_escape").decode(), mask(value))
    if isinstance(value, Mapping):
        return redact(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    return value
