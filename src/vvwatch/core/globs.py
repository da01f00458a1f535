r"""The one glob dialect: `*` within a segment, `**` any depth, `?`, `[a-z]`, `[!a]`, `{a,b}`, `\` for literals.

A pattern without a slash matches the base name, one with a slash the path below the prefix; several slashes
in a row separate like one. The letters after the pattern's last dot match either case, all others exactly.
Names are compared as the store spells them: Unicode is never normalised. Patterns written as regular expressions are
allowed, but match next to nothing: `regular_expression_in` detects them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import bracex
from wcmatch import glob

from vvwatch.errors import InvalidInput

MAX_PATTERN_CHARACTERS: Final = 512
MAX_ALTERNATIVES: Final = 100
_MAX_BRACES: Final = 20
_MAX_EXPANDED_CHARACTERS: Final = 10_000
_ALTERNATIVE_COST: Final = 25

Matches = Callable[[str], object]

_FLAGS: Final = glob.CASE | glob.DOTGLOB | glob.FORCEUNIX
_MEMBER: Final = r"[^\]\[\\/!^{}-]"
_TOKEN: Final = re.compile(rf"\\[^/]|\[[!^]?(?:{_MEMBER}(?:-{_MEMBER})?)+\]|[^\\\[{{}}]", re.DOTALL)
_ITEM: Final = re.compile(r".-.|.", re.DOTALL)
_HINT: Final = "use *, **, ?, [a-z], [!a], {a,b}; put a backslash before a character that is meant literally"


class Glob:
    """A compiled pattern. Raises InvalidInput when it cannot be used."""

    __slots__ = ("_name", "_paths")

    def __init__(self, pattern: str) -> None:
        alternatives = [_split_segments(pattern, text) for text in _expand_braces(pattern)]
        names = [segments[0] for segments in alternatives if len(segments) == 1]
        self._name = _compile_segments(names) if names else None
        self._paths = [_compile_steps(segments) for segments in alternatives if len(segments) > 1]

    def matches(self, path: str, name: str) -> bool:
        """Return whether the object at `path` (relative to the prefix) with the base name `name` matches."""
        if self._name is not None and self._name(name):
            return True
        if not self._paths:
            return False
        names = [segment for segment in path.split("/") if segment]
        return any(_walk_steps(steps, names) for steps in self._paths)

    def matches_all_below(self, folder: str) -> bool:
        """Return whether everything below the folder at this path matches, at any depth."""
        names = [segment for segment in folder.split("/") if segment]
        return any(steps[-1] is None and _walk_steps(steps, names) for steps in self._paths)


def check_pattern(pattern: str) -> None:
    """Raises InvalidInput with the reason if `pattern` is unusable."""
    Glob(pattern)


def compile_cost(pattern: str) -> int:
    """Return about how many microseconds `pattern` takes to compile; 0 if it is unusable."""
    try:
        alternatives = _expand_braces(pattern)
    except InvalidInput:
        return 0
    return sum(_ALTERNATIVE_COST + len(text) for text in alternatives)


def _expand_braces(pattern: str) -> list[str]:
    """Return the patterns without braces that `pattern` stands for."""
    if not 0 < len(pattern) <= MAX_PATTERN_CHARACTERS:
        message = f"a pattern has 1 to {MAX_PATTERN_CHARACTERS} characters, not {len(pattern)}"
        raise InvalidInput(message, _HINT)
    if "\0" in pattern:
        raise InvalidInput("a pattern cannot hold a NUL character", _HINT)
    if pattern.count("{") > _MAX_BRACES:  # each level is a call inside another while they are expanded
        raise InvalidInput(f"a pattern may have {_MAX_BRACES} braces, and {pattern!r} has more", _HINT)
    try:
        alternatives = bracex.expand(pattern, keep_escapes=True, limit=MAX_ALTERNATIVES)
    except bracex.ExpansionLimitException:
        message = f"the braces of {pattern!r} expand to more than {MAX_ALTERNATIVES} patterns"
        raise InvalidInput(message, "write fewer alternatives, or * instead of some of them") from None
    if not alternatives:
        raise InvalidInput(f"the braces of {pattern!r} are empty", _HINT)
    if sum(map(len, alternatives)) > _MAX_EXPANDED_CHARACTERS:
        message = f"the braces of {pattern!r} expand to more than {_MAX_EXPANDED_CHARACTERS:,} characters"
        raise InvalidInput(message, "write fewer alternatives, or shorter ones")
    return alternatives


def _split_segments(pattern: str, text: str) -> list[str]:
    """Return the path segments of one alternative; a single one matches the base name."""
    segments = text.split("/")
    if not segments[0] or not segments[-1]:
        raise InvalidInput(f"{pattern!r} starts or ends with a slash, so no object can match", _HINT)
    if "." in segments or ".." in segments:
        raise InvalidInput(f"{pattern!r} has a '.' or '..' segment, so no object can match", _HINT)
    tokens = [_split_tokens(pattern, segment) for segment in segments if segment]
    tokens[-1] = _either_case(tokens[-1])
    return ["".join(segment) for segment in tokens]


def _split_tokens(pattern: str, segment: str) -> list[str]:
    """Return the characters, escaped characters and classes of one segment."""
    tokens = _TOKEN.findall(segment)
    if "".join(tokens) != segment:
        raise InvalidInput(f"{pattern!r} has a bracket, brace or backslash without its counterpart", _HINT)
    _check_ranges(pattern, tokens)
    return tokens


def _check_ranges(pattern: str, tokens: Sequence[str]) -> None:
    items = [item for token in tokens if token[0] == "[" for item in _ITEM.findall(token[1:-1])]
    backwards = [item for item in items if len(item) == 3 and item[0] > item[2]]
    if backwards:
        raise InvalidInput(f"the range {backwards[0]!r} in {pattern!r} runs backwards", _HINT)


def _either_case(segment: list[str]) -> list[str]:
    """Return the tokens, with those after the last dot matching both cases."""
    dots = [position for position, token in enumerate(segment) if token in {".", "\\."}]
    if not dots:
        return segment
    return [*segment[: dots[-1]], *(_match_both_cases(token) for token in segment[dots[-1] :])]


def _match_both_cases(token: str) -> str:
    if token[0] == "[":
        return f"{token[:-1]}{''.join(_swap_case(item) for item in _ITEM.findall(token[1:-1]))}]"
    letter = token[-1]
    return f"[{letter}{letter.swapcase()}]" if letter.isascii() and letter.isalpha() else token


def _swap_case(item: str) -> str:
    """Return the other case of the letters in one class member, as ranges."""
    ends = ((max(item[0], first), min(item[-1], last)) for first, last in ("AZ", "az"))
    return "".join(f"{low}-{high}".swapcase() for low, high in ends if low <= high)


def _compile_segments(segments: Sequence[str]) -> Matches:
    """Return a test of whether a name matches one of `segments`."""
    expressions, _ = glob.translate(segments, flags=_FLAGS)
    return re.compile("|".join(expressions)).fullmatch


def _compile_steps(segments: Sequence[str]) -> list[Matches | None]:
    """Return one matcher per segment; None stands for `**`."""
    return [None if segment == "**" else _compile_segments([segment]) for segment in segments]


def _walk_steps(steps: Sequence[Matches | None], names: Sequence[str]) -> bool:
    """Return whether `steps` match `names` exactly.

    When a step fails, only the latest `**` may take one name more. So the work is at most steps times names, where
    one regular expression with several `**` takes exponential time on a hostile pattern.
    """
    step = name = retry_name = 0
    retry_step: int | None = None
    while name < len(names):
        matcher = steps[step] if step < len(steps) else _match_nothing
        if matcher is None:
            retry_step, retry_name = step + 1, name
            step += 1
        elif matcher(names[name]):
            step, name = step + 1, name + 1
        elif retry_step is not None:
            retry_name += 1
            step, name = retry_step, retry_name
        else:
            return False
    return all(matcher is None for matcher in steps[step:])


def _match_nothing(_name: str) -> bool:
    return False


_SIGNS: Final = (
    (re.compile(r"^\^"), "^"),
    (re.compile(r"\$$"), "$"),
    (re.compile(r"\\[.dDwWsSbB]"), "\\"),
    (re.compile(r"(?:^|[^*{},?\w\]]|_)\.\*|\.\*(?!$)"), ".*"),
    (re.compile(r"\.\+"), ".+"),
    (re.compile(r"\([^()]*\|[^()]*\)|\(\?"), "(…|…)"),
)
HINT: Final = 'a pattern is a glob: "*.jpg", "*.{mp4,mov}", "IMG_*.jpg", "2026/**"'


def regular_expression_in(pattern: str) -> str:
    """Return what makes a pattern look like a regular expression, for people; empty if it looks like a glob."""
    found = [sign for expression, sign in _SIGNS if expression.search(pattern)]
    if not found:
        return ""
    return (
        f"looks like a regular expression ({', '.join(found)}), and is read as a glob: it may match nothing"
    )
