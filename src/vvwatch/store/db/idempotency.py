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

from vvwatch.errors import AnswerNotKept, RequestMismatch
from vvwatch.store.db import sealing
from vvwatch.store.db.database import Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.schema import receipts

KEPT_SECONDS: Final = 86_400.0
"""How long a receipt counts."""

_AT_ONCE: Final = 500
_HINT: Final = "take another Idempotency-Key for another request"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claim:
    """Which request it is (`id`: who, method, path and key) and a digest of what it asks for (`content`).

    `key_id` names the API key that sent it.
    """

    id: str
    content: str
    key_id: str = ""

    def require(self, content: str | None) -> None:
        """Raises RequestMismatch unless that is what this claim asks for."""
        if content != self.content:
            raise RequestMismatch("this Idempotency-Key came with another request before", _HINT)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: the status, and the body as JSON.

    A body that shows a secret is not kept. `instead` is then the answer to a repetition: what the request did, and what
    to do to get at such a secret.
    """

    status: int
    body: str = field(repr=False)
    instead: tuple[str, str] | None = None


def run_once(
    tx: Tx, box: SecretBox, claim: Claim, effect: Callable[[Tx], T], told: Callable[[T], Answer]
) -> tuple[Answer, T | None]:
    """What is answered to `claim`, and what `effect` brought about for it: None where a receipt was found.

    Raises RequestMismatch, AnswerNotKept for an answer that showed a secret, or what `effect` raises, which leaves no
    receipt.
    """
    if not _take_claim(tx, claim):
        return _find_receipt(tx, box, claim), None
    made = effect(tx)
    return store_answer(tx, box, claim, told(made)), made


def find_answer(tx: Tx, box: SecretBox, claim: Claim) -> Answer | None:
    """What was answered to `claim` before; None for nothing that counts.

    Raises RequestMismatch, AnswerNotKept.
    """
    counts = receipts.c.id == claim.id, receipts.c.made_at > tx.now - KEPT_SECONDS
    return _find_receipt(tx, box, claim) if tx.first(sa.select(receipts.c.id).where(*counts)) else None


def store_answer(tx: Tx, box: SecretBox, claim: Claim, answer: Answer) -> Answer:
    """Let the receipt of a claim that was taken hold this answer, or what is kept instead of it."""
    body = answer.body if answer.instead is None else None
    sealed = sealing.seal(tx, box, json.dumps([claim.content, answer.status, body, answer.instead]))
    tx.update(receipts, claim.id, answer=sealed)
    return answer


def _take_claim(tx: Tx, claim: Claim) -> bool:
    """Take the claim first of all: who comes second waits here for the end of the first."""
    worn_out = receipts.c.id == claim.id, receipts.c.made_at <= tx.now - KEPT_SECONDS
    tx.execute(sa.delete(receipts).where(*worn_out))
    taken = {"id": claim.id, "answer": b"", "made_at": tx.now, "key_id": claim.key_id}
    return bool(tx.insert_new(receipts, [taken]))


def _find_receipt(tx: Tx, box: SecretBox, claim: Claim) -> Answer:
    row = tx.execute(sa.select(receipts).where(receipts.c.id == claim.id)).one()
    content, status, body, *instead = json.loads(box.open(row.answer))
    claim.require(content)
    if body is None:
        raise AnswerNotKept(*instead[0])
    return Answer(status, body)


def delete_of_key(tx: Tx, key_id: str) -> None:
    """Drop the receipts of an API key that opens nothing any more."""
    tx.execute(sa.delete(receipts).where(receipts.c.key_id == key_id))


def list_old(tx: Tx, before: float, after: str) -> Sequence[str]:
    """The next receipts, from the one behind `after`, that are older than that."""
    wanted = receipts.c.id > after, receipts.c.made_at <= before
    return (
        tx.execute(sa.select(receipts.c.id).where(*wanted).order_by(receipts.c.id).limit(_AT_ONCE))
        .scalars()
        .all()
    )


def delete_old(tx: Tx, before: float, ids: Sequence[str]) -> int:
    """Drop those of these receipts that are older than that; returns how many."""
    wanted = receipts.c.id.in_(ids), receipts.c.made_at <= before
    return tx.execute(sa.delete(receipts).where(*wanted)).rowcount
