"""The code has types, also the rows that leave the store: mypy finds a misspelt field of one, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READERS = {
    "workflow/watching/selection.py": ("row.process_existing", "proces_existing"),
    "workflow/pipeline/imports.py": ("work.file.key", "kei"),
    "workflow/pipeline/deliveries.py": ("work.delivery.attempts", "atempts"),
}
"""Modules, a field that each reads, and a misspelling of it."""


@pytest.mark.timeout(300)
def test_a_misspelt_field_of_a_row_fails_the_type_check_and_nothing_else_does(tmp_path: Path) -> None:
    copies = []
    for number, (name, (read, misspelt)) in enumerate(READERS.items()):
        text = (ROOT / "src/vvwatch" / name).read_text()
        assert read in text
        copies.append(tmp_path / f"misspelt_{number}.py")
        copies[-1].write_text(text.replace(read, f"{read.rpartition('.')[0]}.{misspelt}", 1))
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "src", "tests", "bench", *map(str, copies)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in checked.stdout.splitlines() if "error:" in line]
    for copy, (_, misspelt) in zip(copies, READERS.values(), strict=True):
        [_] = [error for error in errors if f'"{misspelt}"' in error and copy.name in error]
    assert len(errors) == len(copies), checked.stdout


def test_no_untyped_row_leaves_the_store() -> None:
    """Only `store/db` names rows of the driver; whoever else reads one turns it into a model where it reads it."""
    source = ROOT / "src/vvwatch"
    strays = [
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if path.parent != source / "store/db" and "sa.Row" in path.read_text()
    ]
    assert strays == []
