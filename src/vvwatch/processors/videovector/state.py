"""The recorded state of an item at the upstream, from which a restart continues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vvwatch.ports.processing import Item
from vvwatch.processors.videovector.found import Part


@dataclass(frozen=True, slots=True)
class State:
    """The progress of an item. `generation` is the retry that it belongs to; `since` is when that began.

    `parts` is empty until the import has ended; `lost_parts` counts those that the upstream could not import.
    `is_asked`: the run was requested, and may exist even if `run_id` is unknown. `is_settled`: its cost is in our
    ledger.
    """

    generation: str
    since: float
    import_job: str | None = None
    parts: tuple[Part, ...] = ()
    lost_parts: int = 0
    prompt_id: str | None = None
    estimated_mt: float | None = None
    is_asked: bool = False
    run_id: str | None = None
    is_settled: bool = False

    def to_fields(self) -> dict[str, Any]:
        """Return the state as JSON fields."""
        return asdict(self)

    @property
    def estimate(self) -> float | None:
        """Return the units of the upstream that the run will use; None if unknown."""
        return None if self.estimated_mt is None or self.estimated_mt < 0 else self.estimated_mt

    def share(self, count: int) -> float | None:
        """Return the units that one of `count` segments will use; None if unknown."""
        return None if self.estimate is None else self.estimate / max(count, 1)

    def with_run_dropped(self, generation: str, now: float) -> State:
        """Return the first state of a retry that needs a new run but no new import."""
        is_asked = self.is_asked and self.run_id is None
        begun = replace(self, generation=generation, since=now, estimated_mt=None)
        return replace(begun, is_asked=is_asked, run_id=None, is_settled=False)


_STATE = TypeAdapter(State)


def read_state(noted: Mapping[str, Any]) -> State | None:
    """Return the recorded state; None if there is none, or another version wrote it in another form."""
    try:
        return _STATE.validate_python(noted) if noted else None
    except ValidationError:
        return None


def step_key(item: Item, step: str) -> str:
    """Return the idempotency key of one step of an item: the same after a crash, unique to the step."""
    return f"vvwatch:{item.run_id}:{item.media_id}:{item.generation or 'first'}:{step}"
