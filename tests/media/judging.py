"""Makes the corpus, asks all judges, and counts: false alarms, what was found of what can be known, and figures."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from tests.media import habits, harm, judges, movies, sounds, stills
from tests.media.judges import Peers, Verdict
from tests.media.recipe import Damaged, Recipe, Truth

os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder greets on stderr else
AT_ONCE: Final = 2


def valid_recipes() -> list[Recipe]:
    """All valid files, each name once."""
    families = (
        movies.matrix(),
        movies.rates(),
        habits.all_habits(),
        sounds.all_sounds(),
        stills.all_stills(),
    )
    return list({recipe.name: recipe for family in families for recipe in family}.values())


def damaged_recipes() -> list[Damaged]:
    """All damaged files."""
    return list(harm.all_damaged())


@dataclass(frozen=True, slots=True)
class Judged:
    """One file with its verdicts. `knowable` of a damaged file: its structure or a peer shows the damage."""

    name: str
    group: str
    truth: Truth | None
    ours: Verdict
    peers: Peers | None
    knowable: bool
    told: tuple[str, ...] = ()

    @property
    def false_alarm(self) -> bool:
        """Whether a valid file is refused or called damaged."""
        return bool(self.ours.alarms) and not (
            self.ours.refused and self.truth is not None and self.truth.may_refuse
        )

    @property
    def found(self) -> bool:
        """Whether damage is told; a header that tells of a part only is told as a warning, for nothing is lost."""
        return bool(self.ours.alarms) or any("the file holds" in note for note in self.ours.notes)

    @property
    def wrong_figures(self) -> list[str]:
        """What is wrong of length, size and rotation, as sentences."""
        truth, said = self.truth, self.ours
        if truth is None or said.alarms:
            return []
        wrong = []
        if not truth.is_length(said.seconds):
            wrong.append(f"{self.name}: {said.seconds} s, not {truth.seconds:.3f} s")
        if said.ends and said.seconds is not None and max(said.ends) > said.seconds + 0.002:
            wrong.append(f"{self.name}: a segment ends at {max(said.ends)} s of {said.seconds} s")
        if truth.width is not None and said.size != (truth.width, truth.height):
            wrong.append(f"{self.name}: {said.size}, not {(truth.width, truth.height)}")
        if (said.rotation or 0) != truth.rotation:
            wrong.append(f"{self.name}: turned by {said.rotation}, not {truth.rotation}")
        return wrong


@dataclass
class Bench:
    """A folder in which files are made and judged, two at a time."""

    folder: Path
    with_peers: bool = True
    _baselines: dict[str, Peers] = field(default_factory=dict)

    async def valid(self, recipe: Recipe) -> Judged:
        """The verdicts on a valid file."""
        path = self.folder / recipe.name
        truth = await anyio.to_thread.run_sync(recipe.make, path)
        said = await judges.ours(path, self.folder / "work")
        peers = await anyio.to_thread.run_sync(judges.peers, path) if self.with_peers else None
        path.unlink()
        return Judged(recipe.name, recipe.group, truth, said, peers, knowable=False)

    async def damaged(self, damaged: Damaged) -> Judged:
        """The verdicts on a damaged file. A peer's complaint counts when it does not make it of the valid file."""
        path = self.folder / damaged.name
        with tempfile.TemporaryDirectory(dir=self.folder) as aside:
            whole = Path(aside) / damaged.base.name
            await anyio.to_thread.run_sync(damaged.base.make, whole)
            before = self._baselines.get(damaged.base.name)
            if before is None:
                before = self._baselines[damaged.base.name] = await anyio.to_thread.run_sync(
                    judges.peers, whole
                )
            path.write_bytes(damaged.do(whole))
        said = await judges.ours(path, self.folder / "work")
        peers = await anyio.to_thread.run_sync(judges.peers, path)
        told = tuple(peers.complaints(before))
        path.unlink()
        return Judged(damaged.name, damaged.group, None, said, peers, damaged.known or bool(told), told)


async def judge(recipes: Iterable[Recipe | Damaged], folder: Path, *, peers: bool = True) -> list[Judged]:
    """All verdicts, in the order of the names."""
    bench, found = Bench(folder, peers), list[Judged]()
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def one(recipe: Recipe | Damaged) -> None:
        async with limiter:
            found.append(await (bench.valid(recipe) if isinstance(recipe, Recipe) else bench.damaged(recipe)))

    async with anyio.create_task_group() as tasks:
        for recipe in recipes:
            tasks.start_soon(one, recipe)
    return sorted(found, key=lambda judged: judged.name)


def false_alarms(judged: Sequence[Judged]) -> list[str]:
    """Valid files that we call damaged or refuse."""
    return [f"{j.name}: {'; '.join(j.ours.alarms)}" for j in judged if j.truth is not None and j.false_alarm]


def misses(judged: Sequence[Judged]) -> list[str]:
    """Damaged files of which the structure or a peer knows, and we say nothing."""
    lost = [j for j in judged if j.truth is None and j.knowable and not j.found]
    return [f"{j.name}: {'; '.join(j.told) or 'by its structure'}" for j in lost]


_COLUMNS: Final = (
    "Container",
    "Valid",
    "False alarms",
    "of FFmpeg",
    "of MediaInfo",
    "Wrong figures",
    "Damaged",
    "Knowable",
    "Found",
    "by FFmpeg",
    "by MediaInfo",
)


def table(judged: Sequence[Judged]) -> str:
    """The verdicts as a table of Markdown, a row for each container and one for all."""
    groups: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        groups[one.group].append(one)
    rows = [(name, *_counts(groups[name])) for name in sorted(groups)] + [("all", *_counts(judged))]
    lines = [" | ".join(map(str, row)) for row in (_COLUMNS, ["---", *["---:"] * (len(_COLUMNS) - 1)], *rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _counts(judged: Sequence[Judged]) -> tuple[int, ...]:
    valid = [j for j in judged if j.truth is not None]
    damaged = [j for j in judged if j.truth is None]
    knowable = [j for j in damaged if j.knowable]
    return (
        len(valid),
        sum(j.false_alarm for j in valid),
        sum(bool(j.peers and j.peers.ffmpeg.alarms) for j in valid),
        sum(bool(j.peers and j.peers.mediainfo.alarms) for j in valid),
        sum(bool(j.wrong_figures) for j in valid),
        len(damaged),
        len(knowable),
        sum(j.found for j in knowable),
        sum(bool(j.peers and j.peers.ffmpeg.alarms) for j in knowable),
        sum(bool(j.peers and j.peers.mediainfo.alarms) for j in knowable),
    )
