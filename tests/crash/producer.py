"""Files that keep coming while things break."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Producer:
    """Drops a new file every now and then; each is renamed into place under a name of its own."""

    def __init__(self, folder: Path, picture: Path) -> None:
        self.names: set[str] = set()
        self._folder = folder
        self._picture = picture

    def drop(self) -> str:
        """Drop one file and return its name."""
        name = f"picture-{len(self.names):04}.png"
        part = self._folder / f".{name}.part"
        shutil.copyfile(self._picture, part)
        part.rename(self._folder / name)
        self.names.add(name)
        return name

    @contextmanager
    def running(self, every_seconds: float) -> Iterator[None]:
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(every_seconds):
                self.drop()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
