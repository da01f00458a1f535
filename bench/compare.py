"""Run benchmarks of two versions in turn and print what changed.

Usage: python bench/compare.py OLD NEW [--rounds N] [--only NAME ...]

OLD and NEW are commits or folders. A commit is checked out into a temporary folder, with an environment of its own; the
environment of a folder is its `.venv`, else that of this Python. Each benchmark runs once a round in both, in turn, so
that a busy host slows both alike. Every figure that both print under the same words is compared by its median;
CPU seconds are those of the benchmark and of all its processes.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

ROOT = Path(__file__).parents[1]

BENCHMARKS: Final[Mapping[str, tuple[str, ...]]] = {
    "ledger": (),
    "webhooks": ("--deliveries", "3000", "--dead", "5000"),
    "listing": ("--keys", "500000", "--rounds", "1"),
    "reconcile": ("--keys", "500000", "--rounds", "1"),
    "events": ("--objects", "5000", "--seconds", "10"),
    "engine": ("--rounds", "3", "--jobs", "5000", "--future", "5000"),
    "daemon": ("--idle-seconds", "20"),
    "idle": ("--automations", "500", "--seconds", "20"),
    "restart": ("--rows", "500000", "--rounds", "3"),
    "folder": ("--burst", "100000", "--files", "50000"),
    "status": ("--automations", "1000", "--requests", "10"),
    "small_media": ("--count", "200", "--kinds", "pictures"),
    "replicas": ("--rounds", "1", "--clips", "12", "--kills", "1", "--idle-seconds", "10"),
}
"""Those that need nothing beside the package, and arguments that keep each to a minute or two."""

_NUMBER: Final = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
_MOST_CHANGED: Final = 0.05

Figures = dict[str, list[float]]


@contextmanager
def checked_out(version: str) -> Iterator[Path]:
    """The folder of a version, with its environment in `.venv`."""
    if Path(version).is_dir():
        yield Path(version).resolve()
        return
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "tree"
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run((*git, "add", "--quiet", "--detach", str(folder), version), check=True)
        try:
            subprocess.run((sys.executable, "-m", "venv", folder / ".venv"), check=True)
            pip = folder / ".venv" / "bin" / "pip"
            subprocess.run((pip, "install", "--quiet", "--editable", f"{folder}[test]"), check=True)
            yield folder
        finally:
            subprocess.run((*git, "remove", "--force", str(folder)), check=True)


def figures_in(text: str) -> Figures:
    """The numbers of each line under its words; a line that occurs again is another one."""
    found: Figures = {}
    for line in text.splitlines():
        words = " ".join(_NUMBER.sub("#", line).split())
        numbers = [float(number.replace(",", "")) for number in _NUMBER.findall(line)]
        if numbers and not line.startswith("{"):
            again = sum(name.split(" (again")[0] == words for name in found)
            found[f"{words} (again {again})" if again else words] = numbers
    return found


def run(folder: Path, name: str) -> Figures:
    """The figures of one run, and its CPU seconds; none if it failed otherwise than by a missed bar."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = folder / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    file = Path("bench") / f"{name}.py"
    script = next(path for path in (folder / file, ROOT / file) if path.exists())
    command = (python, "-P", str(script), *BENCHMARKS[name])
    environ = {**os.environ, "PYTHONPATH": str(folder / "bench")}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        print(f"{name} in {folder} ended with {done.returncode}: {done.stderr[-500:]}", file=sys.stderr)
        return {}
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**figures_in(done.stdout), "CPU seconds in all: #": [spent]}


def median_figures(rounds: list[Figures]) -> Figures:
    """The medians over the rounds that printed the line alike."""
    values: defaultdict[str, list[list[float]]] = defaultdict(list)
    for figures in rounds:
        for words, numbers in figures.items():
            values[words].append(numbers)
    return {
        words: [statistics.median(each) for each in zip(*several, strict=True)]
        for words, several in values.items()
        if len({len(numbers) for numbers in several}) == 1
    }


def compare(name: str, old: Figures, new: Figures) -> None:
    """Print a line for each pair of figures; a star marks those more than 5 % apart."""
    print(f"{name} {' '.join(BENCHMARKS[name])}")
    for words, numbers in new.items():
        for before, now in zip(old.get(words, ()), numbers, strict=False):
            ratio = now / before if before else float("inf") if now else 1.0
            star = "*" if abs(ratio - 1) > _MOST_CHANGED else " "
            print(f"  {before:>14,.2f} {now:>14,.2f} {ratio:>8.2f} {star} {words[:90]}")


def main(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        sides = [stack.enter_context(checked_out(version)) for version in (options.old, options.new)]
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; columns: old, new, new / old")
        for name in options.only or BENCHMARKS:
            rounds: tuple[list[Figures], list[Figures]] = ([], [])
            for _ in range(options.rounds):
                for folder, several in zip(sides, rounds, strict=True):
                    several.append(run(folder, name))
            compare(name, *map(median_figures, rounds))
            print(f"  load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=sorted(BENCHMARKS), metavar="NAME")
    main(parser.parse_args())
