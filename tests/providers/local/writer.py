"""Makes files from a process of its own: `writer.py FOLDER NAME COUNT {flat|nested}`. Prints how many."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    folder, name, count, shape = sys.argv[1:]
    for number in range(int(count)):
        parent = f"{folder}/{name}/{number % 10}/{number}" if shape == "nested" else folder
        if shape == "nested":
            Path(parent).mkdir(parents=True)
        os.close(os.open(f"{parent}/{name}-{number}.mp4", os.O_WRONLY | os.O_CREAT))
    print(count)
