"""Drafts of packs in a folder, and the pictures in them as Pillow reads them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vvwatch.core.pictures import Picture, PictureContents, PicturePack


@dataclass
class Draft:
    """Implements `PictureDraft`; remembers whether it was kept."""

    fd: int
    width: int = 320
    most_bytes: int = 8 << 20
    kept: PictureContents | None = None

    async def keep(self, contents: PictureContents) -> PicturePack | None:
        self.kept = contents
        return PicturePack("00/1.pack", "", os.fstat(self.fd).st_size, contents)

    @property
    def contents(self) -> PictureContents:
        assert self.kept is not None
        return self.kept

    def image(self, picture: Picture | None) -> Image.Image:
        assert picture is not None
        data = os.pread(self.fd, picture.size_bytes, picture.offset)
        image = Image.open(io.BytesIO(data))
        image.load()
        assert (image.format, image.size) == ("JPEG", (picture.width, picture.height))
        return image


@contextmanager
def draft_in(folder: Path, most_bytes: int = 8 << 20) -> Iterator[Draft]:
    fd = os.open(folder / "draft", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield Draft(fd, most_bytes=most_bytes)
    finally:
        os.close(fd)
