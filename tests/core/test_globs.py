from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from vvwatch.core.globs import MAX_ALTERNATIVES, MAX_PATTERN_CHARACTERS, Glob, check_pattern
from vvwatch.errors import InvalidInput

# The oracle reads patterns as trees and tries every way to match; it shares no line with the product.

LETTERS = "aAbB1.é&|~^]"


@dataclass(frozen=True)
class Literal:
    character: str

    def __str__(self) -> str:
        return "\\" + self.character if self.character in "*?[]{}\\,!^" else self.character


@dataclass(frozen=True)
class One:
    def __str__(self) -> str:
        return "?"


@dataclass(frozen=True)
class Many:
    def __str__(self) -> str:
        return "*"


@dataclass(frozen=True)
class Class:
    negated: bool
    ranges: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        members = (low if low == high else f"{low}-{high}" for low, high in self.ranges)
        return f"[{'!' if self.negated else ''}{''.join(members)}]"


@dataclass(frozen=True)
class Either:
    ways: tuple[tuple[Atom, ...], ...]

    def __str__(self) -> str:
        return "{" + ",".join("".join(map(str, way)) for way in self.ways) + "}"


Simple = Literal | One | Many | Class
Atom = Simple | Either
Segment = tuple[Simple, ...]
Pattern = Sequence[Sequence[Atom]]
ANY_DEPTH = (Many(), Many())


def ways(atoms: Sequence[Atom]) -> list[Segment]:
    """What the braces of a segment stand for."""
    parts = [[w for way in a.ways for w in ways(way)] if isinstance(a, Either) else [(a,)] for a in atoms]
    return [tuple(atom for part in chosen for atom in part) for chosen in product(*parts)]


def fits(atom: Literal | One | Class, character: str, either_case: bool) -> bool:
    forms = (
        {character, character.lower(), character.upper()}
        if either_case and character.isascii()
        else {character}
    )
    if isinstance(atom, One):
        return True
    if isinstance(atom, Literal):
        return atom.character in forms
    inside = any(low <= form <= high for form in forms for low, high in atom.ranges)
    return inside != atom.negated


def segment_matches(atoms: Segment, name: str, last_dot: int, at: int = 0) -> bool:
    if at == len(atoms):
        return not name
    atom = atoms[at]
    if isinstance(atom, Many):
        return any(segment_matches(atoms, name[n:], last_dot, at + 1) for n in range(len(name) + 1))
    return (
        name != ""
        and fits(atom, name[0], either_case=at > last_dot >= 0)
        and segment_matches(atoms, name[1:], last_dot, at + 1)
    )


def name_matches(atoms: Segment, name: str, *, last: bool) -> bool:
    dots = [at for at, atom in enumerate(atoms) if atom == Literal(".")]
    return segment_matches(atoms, name, dots[-1] if dots and last else -1)


def path_matches(segments: Sequence[Segment], names: Sequence[str]) -> bool:
    if not segments:
        return not names
    first, rest = segments[0], segments[1:]
    if first == ANY_DEPTH:
        return any(path_matches(rest, names[n:]) for n in range(len(names) + 1))
    return bool(names) and name_matches(first, names[0], last=not rest) and path_matches(rest, names[1:])


def oracle(pattern: Pattern, path: str) -> bool:
    names = path.split("/")
    chosen = product(*(ways(segment) for segment in pattern))
    if len(pattern) == 1:
        return any(name_matches(segment, names[-1], last=True) for (segment,) in chosen)
    return any(path_matches(segments, names) for segments in chosen)


def characters() -> st.SearchStrategy[str]:
    return st.sampled_from(LETTERS)


def ranges() -> st.SearchStrategy[tuple[str, str]]:
    plain = st.sampled_from("aAbBzZ1.é&|~")
    return st.tuples(plain, plain).map(lambda ends: (min(ends), max(ends)))


simple = st.one_of(
    characters().map(Literal),
    st.just(One()),
    st.just(Many()),
    st.builds(Class, st.booleans(), st.lists(ranges(), min_size=1, max_size=2).map(tuple)),
)
choices = st.lists(st.lists(simple, min_size=1, max_size=2).map(tuple), min_size=2, max_size=3)
atoms = st.one_of(simple, simple, simple, choices.map(lambda ways: Either(tuple(ways))))
REFUSED = {(Literal("."),), (Literal("."), Literal("."))}
some_atoms = st.lists(atoms, min_size=1, max_size=5).map(tuple).filter(lambda s: not REFUSED & set(ways(s)))
one_segment = st.one_of(st.just(ANY_DEPTH), some_atoms)
patterns = st.lists(one_segment, min_size=1, max_size=4).filter(
    lambda segments: sum(isinstance(atom, Either) for atoms in segments for atom in atoms) <= 3
)
names = st.text(LETTERS, min_size=1, max_size=5).filter(lambda name: name not in {".", ".."})
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


def instances(atom: Atom) -> st.SearchStrategy[str]:
    """Texts that the atom was written for, or nearly."""
    if isinstance(atom, Either):
        return st.sampled_from(atom.ways).flatmap(texts)
    if isinstance(atom, Literal):
        return st.sampled_from([atom.character, atom.character, atom.character.swapcase()])
    if isinstance(atom, Class):
        return st.sampled_from([end for ends in atom.ranges for end in ends] + ["b"])
    return st.text(LETTERS, max_size=3) if isinstance(atom, Many) else characters()


def texts(atoms: Sequence[Atom]) -> st.SearchStrategy[str]:
    return st.tuples(*map(instances, atoms)).map("".join)


def deeper(segment: Sequence[Atom]) -> st.SearchStrategy[str]:
    return st.lists(names, max_size=2).map("/".join) if segment == ANY_DEPTH else texts(segment)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Pattern, str]:
    """A pattern, and a path that has a fair chance to match it."""
    pattern = draw(patterns)
    guided = "/".join(name for name in map(draw, map(deeper, pattern)) if name)
    path = guided if draw(st.integers(0, 3)) else draw(paths)
    assume(path and not {".", "..", ""} & set(path.split("/")))
    return pattern, path


@settings(max_examples=300, deadline=None)
@given(cases())
@example(([ANY_DEPTH, (Literal("a"),), ANY_DEPTH, (Literal("b"),)], "a/a/b/b"))
@example(([(Many(), Literal("."), Class(True, (("a", "b"),)))], "x.A"))
@example(([(Many(), Literal("."), Class(False, (("A", "z"),)))], "x.Z"))
@example(([(Many(), Literal("."), Class(False, (("A", "a"),)))], "x.b"))
def test_glob_oracle(case: tuple[Pattern, str]) -> None:
    pattern, path = case
    text = "/".join("".join(map(str, segment)) for segment in pattern)
    found = Glob(text).matches(path, path.rpartition("/")[2])
    event(f"matches: {found}")
    assert found == oracle(pattern, path), (text, path)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*", "a.mp4", True),
        ("*", "deep/er/a.mp4", True),
        ("*.mp4", "deep/a.MP4", True),
        ("*.MP4", "a.mp4", True),
        ("*.{mp4,MOV}", "a.Mov", True),
        ("*.{mp4,mov}", "a.mkv", False),
        ("IMG_*", "img_1.jpg", False),
        ("IMG_*.jpg", "IMG_1.JPG", True),
        ("IMG_*.jpg", "img_1.JPG", False),
        ("*.jp?g", "a.JPEG", True),
        ("*.[jm]p*", "a.JPG", True),
        ("a/*.mp4", "a/b.mp4", True),
        ("a/*.mp4", "a/b/c.mp4", False),
        ("a/*.mp4", "A/b.mp4", False),
        ("a/**/*.mp4", "a/b.mp4", True),
        ("a/**/*.mp4", "a/b/c/d.mp4", True),
        ("**/b/**", "a/b/c/d.mp4", True),
        ("**/b/**", "a/c/d.mp4", False),
        ("a//*.mp4", "a/b.mp4", True),
        ("a/*.mp4", "a//b.mp4", True),
        ("{a,b}/*.mp4", "b/x.mp4", True),
        ("{a/*,x*}.mp4", "q/xy.mp4", True),
        ("clip[0-9].mp4", "clip7.mp4", True),
        ("clip[!0-9].mp4", "clip7.mp4", False),
        ("clip{1..3}.mp4", "clip2.mp4", True),
        (r"\[draft\]*.mp4", "[draft] a.mp4", True),
        (r"a\*.mp4", "ab.mp4", False),
        ("*.mp4", "a.mp4\n", False),
        ("*.mp4", "a\nb.mp4", True),
        ("🎬*.mp4", "🎬 cut.mp4", True),
        ("*.mp4", ".mp4", True),
    ],
)
def test_the_dialect(pattern: str, path: str, expected: bool) -> None:
    assert Glob(pattern).matches(path, path.rpartition("/")[2]) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "[",
        "a[",
        "[]",
        "[!]",
        "[b-a]",
        "[a/b]",
        "{a",
        "a}",
        "{a}",
        "{,}",
        "*.{mp4}",
        "a\\",
        "a\\/b",
        "/a.mp4",
        "..",
        "../*.mp4",
        "a/{b,.}/c",
        "a/",
        "/",
        "a\0b",
        "[[:alpha:]]",
        "x" * (MAX_PATTERN_CHARACTERS + 1),
        "{a,b}" * 10,
        "{1..1000000000}",
        "{" + ",".join("a" * (MAX_ALTERNATIVES + 1)) + "}",
        "{" * 500,  # which would be expanded by 250 calls inside one another
        "{1..100}" + "[a-z]" * 90,
    ],
)
def test_an_unusable_pattern_is_refused_with_a_hint(pattern: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_pattern(pattern)
    assert refused.value.hint


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab*?[]{}!^-,./\\$1é"), max_size=30), paths)
def test_any_text_is_compiled_or_refused(pattern: str, path: str) -> None:
    try:
        glob = Glob(pattern)
    except InvalidInput:
        return
    assert glob.matches(path, path.rpartition("/")[2]) in {True, False}


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("**/a/" * 100 + "b", "a/" * 2_000 + "c"),
        ("**/*a*/" * 60 + "b", "aaaa/" * 800 + "c"),
        ("*a" * 250 + "b", "a" * 4_000),
        ("*?" * 250 + "b", "a" * 4_000),
        ("{*a,*b}" * 6 + "c", "ab" * 2_000),
    ],
)
def test_a_hostile_pattern_is_matched_without_end_of_time(pattern: str, path: str) -> None:
    assert not Glob(pattern).matches(path, path.rpartition("/")[2])
