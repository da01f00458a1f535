"""Check JSON schemas of clients against sample data in a child process with a time limit.

A few lines of schema can take forever to evaluate, and a thread could not be stopped.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, Final

import anyio

import vvwatch
from vvwatch.api.http.errors import ApiError

_CHILD: Final = """
import json, resource, sys
root = sys.argv[1]
root in sys.path or sys.path.insert(0, root)
from vvwatch.core.json_schemas import find_misfit
from vvwatch.processors import sandbox
sandbox.lower_limit(resource.RLIMIT_AS, {memory_bytes})
sandbox.lower_limit(resource.RLIMIT_CPU, {cpu_seconds})
sandbox.lower_limit(resource.RLIMIT_FSIZE, 0)
sandbox.enter_sandbox()
json.dump(find_misfit(*json.load(sys.stdin)), sys.stdout)
"""
"""Runs under the limits and the sandbox of a process that decodes media."""

_SECONDS: Final = 5.0
_MEMORY_BYTES: Final = 1 << 30
_ROOT: Final = str(Path(vvwatch.__file__).parents[1])
_MAX_AT_ONCE: Final = 2


class SchemaChecks:
    """Checks schemas, few at a time."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._under_way = 0

    async def misfit(self, schema: dict[str, Any], sample: dict[str, Any]) -> str | None:
        """Return why `schema` is invalid or `sample` does not match it, else None. Raises ApiError (429) when busy."""
        if self._under_way >= _MAX_AT_ONCE:
            message = "too many schema checks are running"
            raise ApiError(429, "rate_limit_exceeded", message, "try again", retry_after_seconds=1)
        self._under_way += 1
        try:
            with anyio.fail_after(self._seconds):
                return await _run_child(schema, sample)
        except TimeoutError:
            return f"checking the schema takes longer than {self._seconds:g} s"
        except CalledProcessError:
            return "the schema cannot be checked: it exceeds the limits of the child process"
        finally:
            self._under_way -= 1


async def _run_child(schema: dict[str, Any], sample: dict[str, Any]) -> str | None:
    given = json.dumps([schema, sample]).encode()
    code = _CHILD.format(memory_bytes=_MEMORY_BYTES, cpu_seconds=math.ceil(_SECONDS))
    ended = await anyio.run_process([sys.executable, "-I", "-c", code, _ROOT], input=given, env={})
    reason: str | None = json.loads(ended.stdout)
    return reason
