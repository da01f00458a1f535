"""The two clients of the official SDK behind one face, so that each test is written once and drives both."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import videovector
from anyio.from_thread import BlockingPortal
from videovector import AsyncPage, SyncPage, resources
from videovector.resources.workflow import AsyncWorkflowSearchPage, WorkflowSearchPage

PAGES = (SyncPage, AsyncPage, WorkflowSearchPage, AsyncWorkflowSearchPage)


@dataclass
class Twin:
    """A client, a resource of it or a page: what the asynchronous one returns is awaited, what iterates is a list.

    With a portal it is asynchronous. Beyond that a test has what the SDK itself returns and raises.
    """

    it: Any
    portal: BlockingPortal | None = field(default=None, repr=False)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.it, name)
        if inspect.ismethod(found):
            return partial(self._called, found)
        return self._faced(found)

    def _called(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self.portal is None:
            return self._faced(_gathered(method(*args, **options)))
        return self._faced(self.portal.call(partial(_settled, method, *args, **options)))

    def _faced(self, value: Any) -> Any:
        is_ours = isinstance(value, PAGES) or type(value) in RESOURCES
        return Twin(value, self.portal) if is_ours else value


def _public_classes(module: ModuleType) -> Iterator[type]:
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.isclass(found):
            yield found


RESOURCES = frozenset(_public_classes(resources))
CLIENTS: dict[str, type[Any]] = {"sync": videovector.VideoVector, "async": videovector.AsyncVideoVector}


def _gathered(value: Any) -> Any:
    return list(value) if inspect.isgenerator(value) else value


async def _settled(method: Callable[..., Any], *args: Any, **options: Any) -> Any:
    value = method(*args, **options)
    if inspect.isasyncgen(value):
        return [each async for each in value]
    return await value if inspect.isawaitable(value) else value


def public_methods(owner: type) -> set[str]:
    """The names of what may be called on a client, a resource or a page."""
    return {name for name, _ in inspect.getmembers(owner, inspect.isfunction) if not name.startswith("_")}


def problems(refused: pytest.ExceptionInfo[videovector.VideoVectorError]) -> set[str]:
    """Where a refused request is wrong."""
    return {problem["where"] for problem in (refused.value.details or {})["errors"]}
