"""The command that runs a module of ours as a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import vvwatch

ROOT: Final = str(Path(vvwatch.__file__).parents[1])
_RUN: Final = (
    "import sys; from importlib import import_module; root, module = sys.argv[1:3]; "
    "root in sys.path or sys.path.insert(0, root); import_module(module).main()"
)


def isolated_command(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that calls `main` of the module in isolated mode, with `arguments` from `sys.argv[3]` on.

    That mode ignores PYTHONPATH, so the process is given the path of this package.
    """
    return (sys.executable, "-I", "-c", _RUN, ROOT, module, *arguments)
