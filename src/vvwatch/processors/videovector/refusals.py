"""Translates the upstream's failures into our errors: some wait, some pause, some are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vvwatch.errors import (
    ProcessorPaused,
    ProcessorRefused,
    ProcessorUnavailable,
    VvwatchError,
)
from vvwatch.processors.videovector.transport import Seen

_LONGEST: Final = 300
_LATER: Final = frozenset({408, 423, 425})
_PLACES: Final[Mapping[str, str]] = {
    "index": "set index_id of this processor to an index of the upstream",
    "connector": "set the upstream's connector in the table connectors of this processor",
}
_NOT_FOUND: Final = re.compile(r"resource_(\w+)_not_found")
_IN_PROGRESS: Final = "idempotency_request_in_progress"
_MODEL: Final = "model_not_configured"


class Lost(ProcessorRefused):
    """Raised when the upstream no longer knows a resource that it gave us.

    `resource` is its kind, in the upstream's words; empty if unknown.
    """

    def __init__(self, message: str, hint: str = "", resource: str = "") -> None:
        super().__init__(message, hint)
        self.resource = resource


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call: the request, the response, and the SDK's error."""

    upstream: str
    asked: str
    seen: Seen
    message: str
    code: str
    retry_after_seconds: float | None = None

    def to_error(self) -> VvwatchError:
        """Return the failure as one of our errors."""
        status = self.seen.status
        if status is None:
            return self._away(
                f"does not answer the request {self.asked}: {self._said}", "it is called again automatically"
            )
        if self.seen.fault:
            return self._to_refusal(f"answers the request {self.asked} {self.seen.fault}")
        if self._is_passing(status):
            said = f"answers the request {self.asked} with HTTP {status}: {self._said}"
            return self._away(said, "it is called again automatically")
        return self._unreadable(status) if status < 400 else self._to_denial(status)

    @property
    def _said(self) -> str:
        return shorten_text(self.message) or "no reason given"

    def _is_passing(self, status: int) -> bool:
        if self.code == _MODEL:
            return False
        return status in _LATER or status == 429 or status >= 500 or self.code == _IN_PROGRESS

    def _unreadable(self, status: int) -> VvwatchError:
        if status >= 300:
            target = shorten_text(self.seen.location) or "nowhere"
            return self._away(
                f"answers the request {self.asked} with a redirect to {target}",
                "set base_url to the address it moved to",
            )
        kind = shorten_text(self.seen.content_type) or "something of no type"
        return self._away(
            f"answers the request {self.asked} with {kind} that is no JSON",
            "base_url must be the address of the API, e.g. https://host/api/v2",
        )

    def _to_denial(self, status: int) -> VvwatchError:
        if status in {401, 402, 403}:
            return self._locked_out(status)
        if status == 404:
            return self._to_loss()
        return self._to_refusal(f"refuses the request {self.asked} (HTTP {status}): {self._said}")

    def _locked_out(self, status: int) -> VvwatchError:
        if status == 403 and not self.code:
            return self._away(
                f"answers the request {self.asked} with HTTP 403 and no reason",
                "look at what stands before it",
            )
        if status == 402:
            return self._to_pause(f"wants to be paid first: {self._said}", "add to its balance")
        hint = "put a key with the scope `write` into api_key_file or api_key_env, then resume the processor"
        return self._to_pause(f"refuses the API key (HTTP {status}): {self._said}", hint)

    def _to_loss(self) -> VvwatchError:
        found = _NOT_FOUND.fullmatch(self.code)
        resource = found[1] if found else ""
        said = f"answers the request {self.asked} with HTTP 404: {self._said}"
        if resource in _PLACES:
            return self._to_pause(said, _PLACES[resource])
        return Lost(f"{self.upstream} {said}", resource=resource)

    def _away(self, said: str, hint: str) -> ProcessorUnavailable:
        return ProcessorUnavailable(f"{self.upstream} {said}", hint, self.retry_after_seconds)

    def _to_pause(self, said: str, hint: str) -> ProcessorPaused:
        return ProcessorPaused(f"{self.upstream} {said}", hint)

    def _to_refusal(self, said: str) -> ProcessorRefused:
        return ProcessorRefused(f"{self.upstream} {said}")


def unreadable_answer(upstream: str, asked: str, what: str) -> ProcessorRefused:
    """Return the error for an answer that this version cannot read; `what` names what came."""
    return ProcessorRefused(
        f"{upstream} answers the request {asked} in a form that is not known here: {shorten_text(what)}",
        "is it another version of the API than 2.0?",
    )


def shorten_text(text: Any) -> str:
    """Return foreign text as one short printable line."""
    line = " ".join(str(text).split())
    printable = "".join(letter if letter.isprintable() else "?" for letter in line[: _LONGEST + 1])
    return printable if len(printable) <= _LONGEST else printable[: _LONGEST - 1] + "…"
