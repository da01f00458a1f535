"""What `vvwatch completion` prints works in the shells themselves, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ZSH = """
compdef() { }
compadd() { print -l -- $completions }
_describe() { print -l -- $completions_with_descriptions }
eval "$(vvwatch completion zsh)"
words=(vvwatch runs '') CURRENT=3
_vvwatch_completion
"""
_FISH = "vvwatch completion fish | source; complete -C 'vvwatch runs '"
_BASH = """
eval "$(vvwatch completion bash)"
COMP_WORDS=(vvwatch runs '') COMP_CWORD=2
_vvwatch_completion vvwatch
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("shell", "script"),
    [(("zsh", "-f"), _ZSH), (("fish", "--no-config"), _FISH), (("bash", "--norc"), _BASH)],
    ids=["zsh", "fish", "bash"],
)
def test_a_shell_completes_what_may_follow(shell: tuple[str, ...], script: str) -> None:
    if not shutil.which(shell[0]):
        pytest.skip(f"{shell[0]} is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*shell, "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = {line.partition(":")[0].partition("\t")[0] for line in done.stdout.splitlines()}
    assert {"list", "show"} <= found, (done.stdout, done.stderr)
