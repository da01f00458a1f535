"""The optional packages: which of them an extra of this installation needs, and how they get into it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from typing import Final

from vvwatch.errors import InvalidInput

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA: Final = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def list_requirements(extra: str) -> list[str]:
    """What `extra` needs, as pip writes it (`aiohttp~=3.14`); empty for an extra that there is not."""
    return list(_iter_requirements(extra))


def _iter_requirements(extra: str) -> Iterator[str]:
    for line in metadata.requires("vvwatch") or ():
        requirement, _, marker = line.partition(";")
        wanted = _EXTRA.search(marker)
        if wanted and wanted[1] == extra:
            yield requirement.strip()


def find_missing_package(extra: str) -> str | None:
    """The first package of `extra` that is not installed; None when all are."""
    names = (match[0] for each in list_requirements(extra) if (match := _NAME.match(each)))
    return next((name for name in names if not _is_installed(name)), None)


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def install_command(extra: str) -> str:
    """The command that brings `extra` into the very Python that runs this, whatever it was installed from."""
    python = shlex.quote(sys.executable)
    pip = f"{python} -m pip install" if find_spec("pip") else f"uv pip install --python {python}"
    return " ".join([pip, *map(shlex.quote, list_requirements(extra))])


def require_extra(extra: str | None, what: str) -> None:
    """Raise InvalidInput, with the command that installs it, if a package of `extra` is missing; None needs none."""
    if extra and (missing := find_missing_package(extra)):
        raise InvalidInput(
            f"{what} needs the package {missing}, which is not installed", install_command(extra)
        )
