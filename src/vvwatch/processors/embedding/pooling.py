"""From what a model says of each token to one vector of a text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def pool_tokens(hidden: npt.ArrayLike, mask: npt.ArrayLike) -> Floats:
    """Return the mean of the tokens that the mask counts, of length one."""
    weights = np.asarray(mask, dtype=np.float32)[:, None]
    return to_unit((np.asarray(hidden, dtype=np.float32) * weights).sum(axis=0))


def join_parts(parts: npt.ArrayLike) -> Floats:
    """Return the mean of the vectors of a text's parts, of length one."""
    return to_unit(np.asarray(parts, dtype=np.float32).mean(axis=0))


def to_unit(vector: Floats) -> Floats:
    """Return the vector with length one; zeros, and what is no number, as zeros."""
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        return np.zeros_like(vector)
    return np.asarray(vector / np.float32(length), dtype=np.float32)


def to_bytes(vector: Floats) -> bytes:
    """Return the vector as it is stored: two bytes a number."""
    return vector.astype("<f2").tobytes()


def compare(vector: bytes, others: bytes) -> list[float]:
    """Return the cosine of `vector` and each of `others`, which have its length and are joined."""
    one = np.frombuffer(vector, dtype="<f2").astype(np.float32)
    many = np.frombuffer(others, dtype="<f2").reshape(-1, len(one)).astype(np.float32)
    return [float(each) for each in many @ one]
