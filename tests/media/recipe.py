"""What one file of the corpus is: its name, how to make it, and what is true of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of a valid file because we wrote it.

    `seconds` is None for pictures. `slack_seconds` is one frame of the track that ends last. Sizes are as displayed,
    None where nothing is claimed; `rotation` is clockwise. `padding_seconds` is what an encoder put around the sound
    where the container cannot say so. `may_refuse` marks a coding for which there is no decoder or no key: it may be
    refused, in words that speak of the coding and not of damage.
    """

    seconds: float | None = None
    slack_seconds: float = 0.0
    padding_seconds: float = 0.0
    width: int | None = None
    height: int | None = None
    rotation: int = 0
    may_refuse: bool = False

    def is_length(self, seconds: float | None) -> bool:
        """Whether `seconds` is within one frame of the truth; of a picture nothing is claimed."""
        if self.seconds is None:
            return True
        least, most = (
            self.seconds - self.slack_seconds,
            self.seconds + self.slack_seconds + self.padding_seconds,
        )
        return seconds is not None and least - 0.002 <= seconds <= most + 0.002


@dataclass(frozen=True, slots=True)
class Recipe:
    """A valid file. `group` is its row in the table; `make` writes it to a path."""

    name: str
    group: str
    make: Callable[[Path], Truth]


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file that was made valid and then harmed.

    `known` tells that the structure of what is left shows the loss, whatever the peers say; where it is false, the
    loss counts as knowable when a peer that decodes everything complains.
    """

    base: Recipe
    harm: str
    do: Callable[[Path], bytes]
    known: bool = False

    @property
    def name(self) -> str:
        """The name of the file: its recipe, the harm, and the extension."""
        stem, _, extension = self.base.name.rpartition(".")
        return f"{stem}--{self.harm}.{extension}"

    @property
    def group(self) -> str:
        """Its row in the table."""
        return self.base.group


def order(name: str, seed: str) -> bytes:
    """A key that sorts names in an order that depends on `seed` alone."""
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
