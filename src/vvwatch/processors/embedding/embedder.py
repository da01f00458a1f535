"""A sentence model in ONNX format, such as all-MiniLM-L6-v2, from a folder of the user's.

Each text runs alone: a quantised model's answer depends on what shares its batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from vvwatch.errors import InvalidInput, ProcessorError, ProcessorPaused
from vvwatch.extras import require_extra

EXTRA: Final = "search"
FILES: Final = ("model.onnx", "tokenizer.json")

_MOST_TOKENS: Final = 256  # at once; tokenizer.json of the model says 128, its positions reach 512
_MOST_PARTS: Final = 16
_MOST_CHARACTERS: Final = 32_768
_FORM: Final = b"1"  # of vectors: another one for another way to make them
_HINT: Final = "see docs/search.md"
_AT_ONCE: Final = 2

Run = Callable[[Any], Any]


def check_model(folder: Path) -> None:
    """Raise InvalidInput for a folder that lacks a file of the model."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InvalidInput(f"{folder} has no {' and no '.join(missing)}", _HINT)


class Embedder:
    """Makes vectors with the model in `folder`, which is loaded on first use; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loading = threading.Lock()
        self._model: _Model | None = None
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def embed(self, text: str) -> tuple[str, bytes]:
        """Return the model's name and the vector of the text.

        Raises ProcessorPaused, which says why the model cannot be used.
        """
        return await anyio.to_thread.run_sync(self._embed, text, limiter=self._limiter)

    async def name(self) -> str:
        """Return the name of the model and of the form of its vectors. Raises ProcessorPaused."""
        return (await anyio.to_thread.run_sync(self._load, limiter=self._limiter)).name

    async def examine(self) -> tuple[ProcessorError, ...]:
        """Return why the model cannot be used; nothing if it can."""
        try:
            await self.name()
        except ProcessorPaused as error:
            return (error,)
        return ()

    @staticmethod
    def compare(vector: bytes, others: bytes) -> list[float]:
        """Return how near each of the joined vectors is, from -1 to 1."""
        from vvwatch.processors.embedding.pooling import compare  # noqa: PLC0415  # needs the extra

        return compare(vector, others)

    def _embed(self, text: str) -> tuple[str, bytes]:
        model = self._load()
        try:
            return model.name, model.embed(text)
        except Exception as error:
            raise self._explain(error) from error

    def _load(self) -> _Model:
        with self._loading:
            if self._model is None:
                try:
                    require_extra(EXTRA, "search by meaning")
                    check_model(self._folder)
                    self._model = _Model(self._folder)
                except InvalidInput as error:
                    raise ProcessorPaused(error.message, error.hint) from error
                except Exception as error:
                    raise self._explain(error) from error
            return self._model

    def _explain(self, error: Exception) -> ProcessorPaused:
        why = str(error).strip().partition("\n")[0][:200]
        return ProcessorPaused(f"the model in {self._folder} cannot be used: {why}", _HINT)


class _Model:
    def __init__(self, folder: Path) -> None:
        import onnxruntime  # noqa: PLC0415  # needs the extra, and takes a while
        import tokenizers  # noqa: PLC0415

        model, tokenizer = ((folder / name).read_bytes() for name in FILES)
        self.name = sha256(_FORM + sha256(model).digest() + sha256(tokenizer).digest()).hexdigest()[:32]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._inputs = {each.name for each in self._session.get_inputs()}
        self._tokenizer = tokenizers.Tokenizer.from_buffer(tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=_MOST_TOKENS)
        self.embed("a first text")  # what cannot be used fails here

    def embed(self, text: str) -> bytes:
        from vvwatch.processors.embedding.pooling import join_parts, to_bytes  # noqa: PLC0415

        readable = text[:_MOST_CHARACTERS].encode("utf-8", "replace").decode()
        whole = self._tokenizer.encode(readable)
        parts = [whole, *whole.overflowing][:_MOST_PARTS]
        return to_bytes(join_parts([self._run(part) for part in parts]))

    def _run(self, part: Any) -> Any:
        from vvwatch.processors.embedding.pooling import pool_tokens  # noqa: PLC0415

        tokens = {
            "input_ids": part.ids,
            "attention_mask": part.attention_mask,
            "token_type_ids": part.type_ids,
        }
        given = {name: _to_batch(ids) for name, ids in tokens.items() if name in self._inputs}
        return pool_tokens(self._session.run(None, given)[0][0], part.attention_mask)


def _to_batch(ids: list[int]) -> Any:
    import numpy as np  # noqa: PLC0415

    return np.asarray([ids], dtype=np.int64)
