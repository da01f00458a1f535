"""Receipts: the answer to a request with an idempotency key, so that a repetition returns it without a second effect.

A receipt commits with the effect of its request, so neither exists without the other, whenever the process dies. Of
concurrent requests one runs, and the others find its receipt.
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
"""How long a receipt is valid."""

_AT_ONCE: Final = 500
_HINT: Final = "use a new Idempotency-Key for a different request"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claim:
    """The request (`id`: key holder, method, path and key) and a digest of its `content`.

    `key_id` names the API key that sent it.
    """

    id: str
    content: str
    key_id: str = ""

    def require(self, content: str | None) -> None:
        """Raise RequestMismatch unless the content is the same."""
        if content != self.content:
            raise RequestMismatch("this Idempotency-Key was used for a different request", _HINT)


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, and the body as JSON.

    A body with a secret is not stored. A repetition then gets `instead`: what the request did, and how to get such a
    secret.
    """

    status: int
    body: str = field(repr=False)
    instead: tuple[str, str] | None = None


def run_once(
    tx: Tx, box: SecretBox, claim: Claim, effect: Callable[[Tx], T], to_answer: Callable[[T], Answer]
) -> tuple[Answer, T | None]:
    """Return the answer to `claim`, and what `effect` returned for it, or None if a receipt was found.

    Raises RequestMismatch, AnswerNotKept for an answer with a secret, or what `effect` raises; then no receipt is left.
    """
    if not _take_claim(tx, claim):
        return _find_receipt(tx, box, claim), None
    made = effect(tx)
    return store_answer(tx, box, claim, to_answer(made)), made


def find_answer(tx: Tx, box: SecretBox, claim: Claim) -> Answer | None:
    """Return the earlier answer to `claim`, or None if there is no valid one.

    Raises RequestMismatch, AnswerNotKept.
    """
    counts = receipts.c.id == claim.id, receipts.c.made_at > tx.now - KEPT_SECONDS
    return _find_receipt(tx, box, claim) if tx.first(sa.select(receipts.c.id).where(*counts)) else None


def store_answer(tx: Tx, box: SecretBox, claim: Claim, answer: Answer) -> Answer:
    """Store this answer, or its replacement, in the receipt of a taken claim."""
    body = answer.body if answer.instead is None else None
    sealed = sealing.seal(tx, box, json.dumps([claim.content, answer.status, body, answer.instead]))
    tx.update(receipts, claim.id, answer=sealed)
    return answer


def _take_claim(tx: Tx, claim: Claim) -> bool:
    """Take the claim before anything else: a concurrent second request waits here for the first to end."""
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
    """Delete the receipts of an API key that is no longer valid."""
    tx.execute(sa.delete(receipts).where(receipts.c.key_id == key_id))


def list_old(tx: Tx, before: float, after: str) -> Sequence[str]:
    """Return the ids of the next receipts after `after` that are older than `before`."""
    wanted = receipts.c.id > after, receipts.c.made_at <= before
    return (
        tx.execute(sa.select(receipts.c.id).where(*wanted).order_by(receipts.c.id).limit(_AT_ONCE))
        .scalars()
        .all()
    )


def delete_old(tx: Tx, before: float, ids: Sequence[str]) -> int:
    """Delete those of these receipts that are older than `before`; return how many."""
    wanted = receipts.c.id.in_(ids), receipts.c.made_at <= before
    return tx.execute(sa.delete(receipts).where(*wanted)).rowcount
