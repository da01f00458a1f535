"""Receipts: what was answered to a request with a key of its own, so that repeating it repeats the answer alone.

A receipt commits with what the request brought about. So there is never one without the other, whenever the process
dies; and of requests that come at once one runs, and the others find its receipt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import sqlalchemy as sa

from vvwatch.errors import RequestMismatch
from vvwatch.store.database import Tx
from vvwatch.store.encryption import SecretBox
from vvwatch.store.schema import receipts

KEPT_SECONDS: Final = 86_400.0
"""How long a receipt counts."""

_AT_ONCE: Final = 500
_HINT: Final = "take another Idempotency-Key for another request"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claim:
    """Which request it is (`id`: who, method, path and key) and a digest of what it asks for (`content`)."""

    id: str
    content: str

    def require(self, content: str | None) -> None:
        """Raises RequestMismatch unless that is what this claim asks for."""
        if content != self.content:
            raise RequestMismatch("this Idempotency-Key came with another request before", _HINT)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: the status, and the body as JSON, which may hold secrets."""

    status: int
    body: str = field(repr=False)


def once(
    tx: Tx, box: SecretBox, claim: Claim, effect: Callable[[Tx], T], told: Callable[[T], Answer]
) -> tuple[Answer, T | None]:
    """What is answered to `claim`, and what `effect` brought about for it: None where a receipt was found.

    Raises RequestMismatch, or what `effect` raises, which leaves no receipt.
    """
    if not _taken(tx, claim):
        return _found(tx, box, claim), None
    made = effect(tx)
    return keep(tx, box, claim, told(made)), made


def given(tx: Tx, box: SecretBox, claim: Claim) -> Answer | None:
    """What was answered to `claim` before; None for nothing that counts. Raises RequestMismatch."""
    counts = receipts.c.id == claim.id, receipts.c.made_at > tx.now - KEPT_SECONDS
    return _found(tx, box, claim) if tx.first(sa.select(receipts.c.id).where(*counts)) else None


def keep(tx: Tx, box: SecretBox, claim: Claim, answer: Answer) -> Answer:
    """Let the receipt of a claim that was taken hold this answer."""
    sealed = box.seal(json.dumps([claim.content, answer.status, answer.body]))
    tx.update(receipts, claim.id, answer=sealed)
    return answer


def _taken(tx: Tx, claim: Claim) -> bool:
    """Take the claim first of all: who comes second waits here for the end of the first."""
    worn_out = receipts.c.id == claim.id, receipts.c.made_at <= tx.now - KEPT_SECONDS
    tx.execute(sa.delete(receipts).where(*worn_out))
    return bool(tx.insert_new(receipts, [{"id": claim.id, "answer": b"", "made_at": tx.now}]))


def _found(tx: Tx, box: SecretBox, claim: Claim) -> Answer:
    row = tx.execute(sa.select(receipts).where(receipts.c.id == claim.id)).one()
    content, status, body = json.loads(box.open(row.answer))
    claim.require(content)
    return Answer(status, body)


def old(tx: Tx, before: float, after: str) -> Sequence[str]:
    """The next receipts, from the one behind `after`, that are older than that."""
    wanted = receipts.c.id > after, receipts.c.made_at <= before
    return (
        tx.execute(sa.select(receipts.c.id).where(*wanted).order_by(receipts.c.id).limit(_AT_ONCE))
        .scalars()
        .all()
    )


def drop(tx: Tx, before: float, ids: Sequence[str]) -> int:
    """Drop those of these receipts that are older than that; returns how many."""
    wanted = receipts.c.id.in_(ids), receipts.c.made_at <= before
    return tx.execute(sa.delete(receipts).where(*wanted)).rowcount
