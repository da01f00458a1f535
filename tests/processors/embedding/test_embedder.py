"""Vectors of a real sentence model: near in meaning is near in space, whatever the text looks like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.sentence_model import sentence_model

from vvwatch.core.fusion import fuse_orders
from vvwatch.errors import ProcessorPaused
from vvwatch.processors.embedding.embedder import Embedder
from vvwatch.processors.embedding.pooling import compare, join_parts, pool_tokens, to_bytes, to_unit

pytestmark = pytest.mark.anyio

SEGMENTS = (
    "Tomorrow it will rain in the north, and the wind turns to the west.",
    "A fisherman talks to the reporter about his life at sea.",
    "The chef fries onions and adds tomatoes and basil.",
    "Two teams play for the cup; the striker scores in the last minute.",
    "Firefighters carry people out of a burning building.",
    "A cat sleeps on the sofa beside a little girl.",
    "The minister presents the budget to parliament.",
)
PARAPHRASES = {
    "forecast": 0,
    "interview with a sailor": 1,
    "cooking a meal": 2,
    "football match goal": 3,
    "rescue from flames": 4,
    "a pet taking a nap": 5,
    "politics and public finances": 6,
}


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(sentence_model())


async def test_paraphrases_find_the_right_segment_first(embedder: Embedder) -> None:
    vectors = b"".join([(await embedder.embed(text))[1] for text in SEGMENTS])
    for query, expected in PARAPHRASES.items():
        _, vector = await embedder.embed(query)
        scores = embedder.compare(vector, vectors)
        assert scores.index(max(scores)) == expected, query


@pytest.mark.parametrize(
    "text", ["", " ", "\0\x1b[31m", "\ud800", "a" * 1_000_000, "字" * 70_000, "[CLS] [SEP] [MASK]" * 9]
)
async def test_any_text_has_a_vector_of_length_one(embedder: Embedder, text: str) -> None:
    _, vector = await embedder.embed(text)
    assert len(vector) == 768
    assert compare(vector, vector) == [pytest.approx(1, abs=2e-3)]
    assert (await embedder.embed(text))[1] == vector


async def test_the_end_of_a_long_text_counts(embedder: Embedder) -> None:
    """Behind 128 and 256 tokens, where the model's own settings end."""
    padding = "the quick brown fox jumps over the lazy dog " * 60
    _, with_rain = await embedder.embed(padding + SEGMENTS[0] * 8)
    _, without = await embedder.embed(padding)
    _, query = await embedder.embed(SEGMENTS[0])
    near, far = embedder.compare(query, with_rain + without)
    assert near > far + 0.1


async def test_a_model_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(ProcessorPaused, match=r"has no model\.onnx and no tokenizer\.json"):
        await Embedder(tmp_path).embed("x")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(ProcessorPaused, match="cannot be used"):
        await Embedder(tmp_path).name()


@pytest.mark.parametrize(
    ("hidden", "mask", "expected"),
    [
        ([[3, 4]], [1], [0.6, 0.8]),
        ([[1, 0], [0, 1]], [1, 1], [0.5**0.5, 0.5**0.5]),
        ([[1, 0], [9, 9]], [1, 0], [1, 0]),
        ([[1, 1]], [0], [0, 0]),
        ([[float("nan"), 1]], [1], [0, 0]),
    ],
)
def test_tokens_that_the_mask_counts_are_pooled(
    hidden: list[list[float]], mask: list[int], expected: list[float]
) -> None:
    assert pool_tokens(hidden, mask).tolist() == pytest.approx(expected)


def test_parts_are_joined_and_compared() -> None:
    assert join_parts([[1, 0], [0, 1]]).tolist() == pytest.approx([0.5**0.5] * 2)
    one, other = (to_bytes(to_unit(np.array(each, np.float32))) for each in ([1, 0], [0, 5]))
    assert compare(one, one + other) == [1, 0]


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ([], []),
        ([[(1, 0), (2, 0)], []], [(1, 0), (2, 0)]),
        ([[(1, 0), (2, 0)], [(2, 0), (3, 0)]], [(2, 0), (1, 0), (3, 0)]),
        ([[(1, 0)], [(2, 0)]], [(2, 0), (1, 0)]),
        ([[(1, 1)], [(1, 0)]], [(1, 0), (1, 1)]),
    ],
)
def test_orders_are_fused(orders: list[list[tuple[int, int]]], expected: list[tuple[int, int]]) -> None:
    assert fuse_orders(orders) == expected
