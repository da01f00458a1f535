"""Rows that leave the store have types: mypy finds a misspelt field."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READER = ROOT / "src/vvwatch/workflow/watching/watch_state.py"


@pytest.mark.timeout(300)
def test_a_misspelt_field_of_a_row_fails_the_type_check(tmp_path: Path) -> None:
    text = READER.read_text()
    assert "self.row.process_existing" in text
    copy = tmp_path / "misspelt.py"
    copy.write_text(text.replace("self.row.process_existing", "self.row.proces_existing"))
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", str(copy)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    [error] = [line for line in checked.stdout.splitlines() if "error:" in line]
    assert '"proces_existing"' in error
    assert error.endswith("[attr-defined]")
