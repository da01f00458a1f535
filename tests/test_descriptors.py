"""The limit of open files: raised for the daemon, given back to the programs that it starts."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, resource, subprocess, sys
from vvwatch import descriptors

resource.setrlimit(resource.RLIMIT_NOFILE, (200, 900))
raised = descriptors.raise_limit()
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
inherited = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
descriptors.restore_limit(child.pid)
restored = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
child.communicate()
print(json.dumps([raised, descriptors.file_limit(), inherited, restored]))
"""


def test_the_soft_limit_is_raised_here_and_given_back_to_children() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == [900, 900, [900, 900], [200, 900]]
