"""Draw the rooms of vvwatch as a Mermaid graph, from the imports: `python docs/map.py` prints it, `--write` saves it.

An arrow means "imports". Arrows that a longer way implies are left out; rooms that import each other share a box.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "src" / "vvwatch"
PAGE: Final = ROOT / "docs" / "architecture.md"
BLOCK: Final = re.compile(r"(?<=```mermaid\n)flowchart TD\n.*?(?=```)", re.DOTALL)
DIVIDED: Final = ("api", "workflow", "providers", "store")
"""The packages whose folders are rooms of their own."""
APART: Final = ("providers/registry",)
"""Modules that are rooms of their own: they stand above the folders beside them."""

Graph = dict[str, set[str]]


def room_of(module: str) -> str:
    """Return the room of `vvwatch.…`: a package, or a folder of a divided one; empty for a module at the top."""
    parts = module.split(".")[1:]
    if not parts or not (SOURCE / parts[0]).is_dir():
        return ""
    if parts[0] not in DIVIDED:
        return parts[0]
    inner = "/".join(parts[:2])
    return inner if inner in APART or (len(parts) > 1 and (SOURCE / inner).is_dir()) else parts[0]


def imports_of(path: Path) -> Iterator[str]:
    """List the modules of vvwatch that a file imports, the imported names appended."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vvwatch"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def read_imports() -> Graph:
    """Return each room with those that it imports."""
    graph: Graph = {}
    for path in sorted(SOURCE.rglob("*.py")):
        room = room_of(".".join(("vvwatch", *path.relative_to(SOURCE).with_suffix("").parts)))
        if room:
            graph.setdefault(room, set()).update(set(map(room_of, imports_of(path))) - {room, ""})
    return {room: others & graph.keys() for room, others in graph.items()}


def reach(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Return every room that `start` imports, however indirectly."""
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        if (room := waiting.pop()) not in found:
            found.add(room)
            waiting.extend(graph[room])
    return found


def reduce(graph: Graph) -> Graph:
    """Join the rooms that import each other, and drop every arrow that a longer way implies."""
    reached = {room: reach(graph, room) for room in graph}
    box = {room: min({room, *(o for o in others if room in reached[o])}) for room, others in reached.items()}
    joined: Graph = {}
    for room, others in graph.items():
        joined.setdefault(box[room], set()).update({box[other] for other in others} - {box[room]})
    reached = {room: reach(joined, room) for room in joined}
    return {
        room: {other for other in others if not any(other in reached[way] for way in others - {other})}
        for room, others in joined.items()
    }


def draw(graph: Graph) -> str:
    """Return the graph as Mermaid text."""
    reduced = reduce(graph)
    reached = {room: reach(graph, room) for room in graph}
    lines = ["flowchart TD"]
    for room in sorted(reduced):
        alike = sorted({room, *(other for other in reached[room] if room in reached[other])})
        lines.append(f'    {_name(room)}["{"<br>".join(alike)}"]')
    lines += [
        f"    {_name(room)} --> {_name(other)}" for room in sorted(reduced) for other in sorted(reduced[room])
    ]
    return "\n".join(lines) + "\n"


def _name(room: str) -> str:
    return room.replace("/", "_")


if __name__ == "__main__":
    picture = draw(read_imports())
    if "--write" in sys.argv:
        PAGE.write_text(BLOCK.sub(lambda _: picture, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(picture)
