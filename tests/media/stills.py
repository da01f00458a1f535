"""Valid pictures: kinds of each format, as cameras, phones, scanners and web sites write them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import av
import pillow_heif
from PIL import Image

from tests.media.habits import appended, changed
from tests.media.recipe import Recipe, Truth
from tests.media.writing import pictures

pillow_heif.register_heif_opener()
SIZE = (160, 90)
ORIENTATION = 0x0112
TURNS = {1: 0, 3: 180, 6: 90, 8: 270}
"""EXIF orientations and how far a picture is turned clockwise for display."""


@cache
def picture(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """A test picture that no format can store in a few bytes."""
    frame = next(pictures("testsrc2", (size[0] + size[0] % 2, size[1] + size[1] % 2), "rgb24", 1))
    plane = frame.planes[0]
    row = plane.line_size
    rgb = Image.frombytes("RGB", (frame.width, frame.height), bytes(plane), "raw", "RGB", row)
    rgb = rgb.crop((0, 0, *size))
    if mode in ("RGBA", "LA", "La"):
        rgb.putalpha(Image.linear_gradient("L").resize(size))
    if mode in ("I;16", "I", "F"):
        return (
            rgb.convert("L").convert("I").point(lambda v: v * 257).convert(mode)
            if mode != "F"
            else rgb.convert("L").convert("F")
        )
    return rgb.convert(mode)


def _pillow(
    name: str,
    mode: str = "RGB",
    size: tuple[int, int] = SIZE,
    group: str = "",
    turn: int = 0,
    refuse: bool = False,
    **options: Any,
) -> Recipe:
    """A recipe that Pillow writes."""

    def make(path: Path) -> Truth:
        picture(mode, size).save(path, **options)
        width, height = size[::-1] if turn % 180 else size
        return Truth(width=width, height=height, rotation=turn, may_refuse=refuse)

    return Recipe(name, group or name.rpartition(".")[2], make)


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "Corpus"
    return exif


def _bytes(
    name: str,
    make: Callable[[], bytes],
    size: tuple[int, int] | None = SIZE,
    refuse: bool = False,
    turn: int = 0,
) -> Recipe:
    def write(path: Path) -> Truth:
        path.write_bytes(make())
        width, height = size or (None, None)
        return Truth(width=width, height=height, may_refuse=refuse, rotation=turn)

    return Recipe(name, name.rpartition(".")[2], write)


def jpegs() -> Iterator[Recipe]:
    """JPEG of cameras, web sites and scanners."""
    yield _pillow("baseline.jpg")
    yield _pillow("progressive.jpg", progressive=True)
    yield _pillow("gray.jpg", "L")
    yield _pillow("gray-progressive.jpg", "L", progressive=True)
    yield _pillow("cmyk.jpg", "CMYK")
    yield _pillow("cmyk-progressive.jpg", "CMYK", progressive=True)
    yield _pillow("444.jpg", subsampling=0)
    yield _pillow("422.jpg", subsampling=1)
    yield _pillow("optimized.jpeg", optimize=True, quality=30)
    yield _pillow("restart-markers.jpg", restart_marker_blocks=4)
    yield _pillow("restart-rows.jpg", restart_marker_rows=1, progressive=True)
    yield _pillow("rgb-coded.jpg", keep_rgb=True)
    yield _pillow("odd.jpg", size=(33, 17))
    yield _pillow("one-pixel.jpg", size=(1, 1))
    yield _pillow("profile.jpg", icc_profile=b"\0" * 3000)
    yield _pillow("comment.jpg", comment=b"x" * 2000)
    for orientation, turn in TURNS.items():
        yield _pillow(f"orientation-{orientation}.jpg", turn=turn, exif=_exif(orientation))
    plain = _pillow("a.jpg")
    tails = {
        "newline": b"\r\n",
        "zeros": bytes(2048),
        "samsung": b"\0\0\1\nImage_UTC_Data1234567890SEFHk\0\0\0SEFT",
        "text": b"<?xpacket end?>",
    }
    for name, tail in tails.items():
        yield changed(plain, f"behind-{name}.jpg", appended(tail))
    yield changed(plain, "second-picture.jpg", lambda d: d + d)
    yield changed(plain, "motion-photo.jpg", lambda d: d + _motion())
    yield changed(plain, "thumbnail.jpg", _with_thumbnail)
    yield changed(plain, "no-app0.jpg", lambda d: d[:2] + d[2 + 2 + int.from_bytes(d[4:6], "big") :])
    yield changed(plain, "no-end-marker-fill.jpg", lambda d: d[:2] + b"\xff\xff\xff" + d[2:])
    for name, marker in (("arithmetic", 0xC9), ("arithmetic-progressive", 0xCA)):
        coded = lambda d, m=marker: d.replace(b"\xff\xc0", bytes([0xFF, m]), 1)  # noqa: E731
        yield changed(plain, f"{name}.jpg", coded, may_refuse=True)
    yield changed(
        plain,
        "bits-12.jpg",
        lambda d: d.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c", 1),
        may_refuse=True,
    )
    yield _pillow("several.mpo.jpg", format="MPO", save_all=True, append_images=[picture()])
    yield _ffmpeg("encoder.jpg", "mjpeg", "yuvj420p")
    yield _ffmpeg("encoder-422.jpg", "mjpeg", "yuvj422p")
    yield _ffmpeg("lossless.jpg", "ljpeg", "yuvj420p")


def _motion() -> bytes:
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as out:
        stream: Any = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height = SIZE
        for n, frame in enumerate(pictures("testsrc2", SIZE, "yuv420p", 5)):
            frame.pts = n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return sink.getvalue()


def _with_thumbnail(data: bytes) -> bytes:
    """An EXIF segment that holds a small JPEG of its own."""
    small = io.BytesIO()
    picture(size=(32, 18)).save(small, "JPEG")
    entries = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, 38, 0x0202, 4, 1, len(small.getvalue()), 0)
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<HI", 0, 14) + entries + small.getvalue()
    segment = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def _ffmpeg(
    name: str, codec: str, pixels: str, size: tuple[int, int] = SIZE, options: Mapping[str, str] | None = None
) -> Recipe:
    """The bare output of one of FFmpeg's encoders."""

    def make() -> bytes:
        context: Any = av.CodecContext.create(codec, "w")
        frame = next(pictures("testsrc2", size, pixels, 1))
        context.width, context.height, context.pix_fmt, context.time_base = *size, pixels, frame.time_base
        context.options = dict(options or {})
        return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])

    return _bytes(name, make, size)


def pngs() -> Iterator[Recipe]:
    """PNG and APNG."""
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"):
        yield _pillow(f"mode-{mode.replace(';', '-').lower()}.png", mode)
    yield _pillow("odd.png", size=(33, 17))
    yield _pillow("one-pixel.png", size=(1, 1))
    yield _pillow("bits-4.png", "P", bits=4)
    yield _pillow("stored.png", compress_level=0)
    yield _pillow("rotated.png", exif=_exif(6), turn=90)
    yield _pillow("profile.png", icc_profile=b"\0" * 3000)
    for name, pixels in (
        ("rgb48", "rgb48be"),
        ("rgba64", "rgba64be"),
        ("gray16", "gray16be"),
        ("mono", "monob"),
    ):
        yield _ffmpeg(f"encoder-{name}.png", "png", pixels)
    yield _ffmpeg("interlaced-mixed.png", "png", "rgb24", options={"pred": "mixed"})
    yield _bytes("interlaced.png", lambda: interlaced_png(SIZE))
    yield _bytes("split-idat.png", lambda: _split_idat(_saved(picture(), "PNG")))
    plain = _pillow("a.png")
    yield changed(plain, "behind-newline.png", lambda d: d + b"\r\n")
    yield changed(plain, "behind-zeros.png", lambda d: d + bytes(2048))
    yield changed(
        plain, "text.png", lambda d: d[:33] + png_chunk(b"tEXt", b"Comment\0" + b"x" * 500) + d[33:]
    )
    yield changed(plain, "unknown-chunk.png", lambda d: d[:33] + png_chunk(b"prVt", bytes(100)) + d[33:])
    yield _animation("animated.png", "PNG", save_all=True)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def interlaced_png(size: tuple[int, int]) -> bytes:
    """A grey picture in the seven passes of Adam7."""
    width, height = size
    rows = []
    for x0, y0, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        columns = range(x0, width, dx)
        rows += [b"\0" + bytes((x * 3 + y * 7) % 256 for x in columns) for y in range(y0, height, dy)]
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + png_chunk(b"IEND", b"")
    )


def _split_idat(data: bytes) -> bytes:
    place = data.index(b"IDAT") - 4
    length = int.from_bytes(data[place : place + 4], "big")
    content = data[place + 8 : place + 8 + length]
    chunks = b"".join(png_chunk(b"IDAT", content[n : n + 500]) for n in range(0, len(content), 500))
    return data[:place] + chunks + data[place + 12 + length :]


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def _animation(name: str, kind: str, refuse: bool = False, **options: Any) -> Recipe:
    def make() -> bytes:
        frames = [picture().rotate(20 * n) for n in range(4)]
        return _saved(frames[0], kind, append_images=frames[1:], duration=200, **options)

    return _bytes(name, make, refuse=refuse)


def gifs() -> Iterator[Recipe]:
    """GIF, still and moving."""
    yield _pillow("still.gif", "P")
    yield _pillow("gray.gif", "L")
    yield _pillow("interlaced.gif", "P", interlace=1)
    yield _pillow("not-interlaced.gif", "P", interlace=0)
    yield _pillow("one-pixel.gif", "P", size=(1, 1))
    modes: Mapping[str, Mapping[str, Any]] = {"loop": {"loop": 0}, "once": {}, "disposal": {"disposal": 2}}
    for name, options in modes.items():
        yield _animation(f"animated-{name}.gif", "GIF", save_all=True, **options)
    plain = _pillow("a.gif", "P")
    moving = _animation("a.gif", "GIF", save_all=True)
    for name, tail in (
        ("newline", b"\r\n"),
        ("zeros", bytes(300)),
        ("text", b"uploaded by x"),
        ("long", b"\xff" * 5000),
    ):
        yield changed(plain, f"behind-{name}.gif", appended(tail))
    yield changed(moving, "animated-behind-newline.gif", lambda d: d + b"\n")
    yield changed(plain, "comment.gif", lambda d: d[:-1] + b"\x21\xfe\5hello\0;")
    yield changed(plain, "gif87a.gif", lambda d: b"GIF87a" + d[6:])


def others() -> Iterator[Recipe]:
    """BMP, WebP, HEIC, AVIF."""
    for mode in ("RGB", "L", "P", "1", "RGBA"):
        yield _pillow(f"mode-{mode.lower()}.bmp", mode)
    yield _pillow("odd.bmp", size=(33, 17))
    yield _ffmpeg("rgb565.bmp", "bmp", "rgb565le")
    yield _ffmpeg("bgra.bmp", "bmp", "bgra")
    yield changed(_pillow("a.bmp"), "top-down.bmp", lambda d: d[:22] + struct.pack("<i", -90) + d[26:])
    yield changed(_pillow("a.bmp"), "behind-newline.bmp", lambda d: d + b"\r\n")
    yield changed(_pillow("a.bmp"), "size-zero.bmp", lambda d: d[:2] + bytes(4) + d[6:34] + bytes(4) + d[38:])
    for name, options in (
        ("lossy", {}),
        ("lossless", {"lossless": True}),
        ("low", {"quality": 5}),
        ("exact", {"lossless": True, "exact": True}),
    ):
        yield _pillow(f"{name}.webp", **options)
        yield _pillow(f"{name}-alpha.webp", "RGBA", **options)
    yield _pillow("profile.webp", icc_profile=b"\0" * 3000)
    yield _pillow("rotated.webp", exif=_exif(6), turn=90)
    yield _pillow("odd.webp", size=(33, 17))
    yield _animation("animated.webp", "WEBP", save_all=True, refuse=True)
    yield _animation("animated-lossless.webp", "WEBP", save_all=True, refuse=True, lossless=True)
    yield changed(_pillow("a.webp"), "behind-newline.webp", lambda d: d + b"\r\n")
    yield changed(_pillow("a.webp"), "behind-zeros.webp", lambda d: d + bytes(100))
    yield _ffmpeg("encoder.webp", "libwebp", "yuv420p")
    for name, size in (("small", (64, 48)), ("wide", (320, 180)), ("large", (1200, 700))):
        yield _pillow(f"{name}.heic", size=size)
        yield _pillow(f"{name}.avif", size=size)
    yield _pillow("alpha.heic", "RGBA", size=(320, 180))
    yield _pillow("alpha.avif", "RGBA", size=(320, 180))
    yield _pillow("gray.heic", "L", size=(320, 180))
    yield _pillow("gray.avif", "L", size=(320, 180))
    yield _pillow("odd.heic", size=(161, 91))
    yield _pillow("odd.avif", size=(161, 91))
    yield _pillow("444.heic", size=(320, 180), chroma=444)
    yield _pillow("444.avif", size=(320, 180), subsampling="4:4:4")
    yield _pillow("name.heif", size=(320, 180))
    yield _pillow("exif.heic", size=(320, 180), exif=_exif(1))
    yield _pillow("exif.avif", size=(320, 180), exif=_exif(1))
    yield _pillow("turned.avif", size=(320, 180), exif=_exif(6), turn=90)
    yield _pillow("thumbnail.heic", size=(640, 360), thumbnails=[160])
    yield _pillow("lossless.heic", size=(160, 90), quality=-1)
    yield _animation("animated.avif", "AVIF", save_all=True)
    yield _bytes("two.heic", _two_heic, (320, 180))
    yield changed(_pillow("a.heic", size=(320, 180)), "behind-newline.heic", lambda d: d + b"\r\n")
    yield changed(_pillow("a.avif", size=(320, 180)), "behind-zeros.avif", lambda d: d + bytes(100))


def _two_heic() -> bytes:
    sink = io.BytesIO()
    both = pillow_heif.from_pillow(picture(size=(320, 180)))
    both.add_from_pillow(picture(size=(320, 180)).rotate(180))
    both.save(sink)
    return sink.getvalue()


def tiffs() -> Iterator[Recipe]:
    """TIFF of scanners, editors and instruments."""
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK", "F", "LAB", "YCbCr", "I"):
        refuse = mode in ("F", "LAB", "I", "YCbCr", "LA")
        yield _pillow(f"mode-{mode.replace(';', '-').lower()}.tif", mode, refuse=refuse)
    for compression in (
        "tiff_lzw",
        "tiff_adobe_deflate",
        "packbits",
        "jpeg",
        "tiff_deflate",
        "lzma",
        "zstd",
    ):
        yield _pillow(
            f"{compression}.tif",
            compression=compression,
            refuse=compression in ("jpeg", "zstd", "lzma"),
        )
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield _pillow(f"{compression}.tiff", "1", compression=compression)
    yield _pillow("big.tif", big_tiff=True, refuse=True)
    yield _pillow("big-gray.tif", "L", big_tiff=True, refuse=True)
    for predictor in (1, 2):
        yield _pillow(f"predictor-{predictor}.tif", compression="tiff_lzw", tiffinfo={317: predictor})
    for orientation, turn in ((3, 180), (6, 90), (8, 270)):
        yield _pillow(f"orientation-{orientation}.tif", tiffinfo={274: orientation}, turn=turn)
    yield _pillow("strips.tif", tiffinfo={278: 8})
    yield _animation("pages.tif", "TIFF", save_all=True)
    yield _pillow("odd.tif", size=(33, 17))
    for name, pixels in (
        ("rgb48", "rgb48le"),
        ("gray16", "gray16le"),
        ("yuv420", "yuv420p"),
        ("pal", "pal8"),
        ("mono", "monob"),
        ("rgba64", "rgba64le"),
    ):
        yield _ffmpeg(f"encoder-{name}.tif", "tiff", pixels)
    for name in (
        "big-endian",
        "tiled",
        "planar",
        "float-32",
        "signed-16",
        "gray-32",
        "float-16",
        "bits-12",
        "separate-16",
        "double",
    ):
        yield _bytes(
            f"by-hand-{name}.tif",
            partial(by_hand_tiff, name),
            (64, 48),
            refuse=name != "big-endian",
        )
    yield changed(_pillow("a.tif"), "behind-newline.tif", lambda d: d + b"\r\n")


def by_hand_tiff(kind: str) -> bytes:
    """Kinds of TIFF that Pillow does not write."""
    width, height = 64, 48
    order = ">" if kind == "big-endian" else "<"
    bits, samples, form = {
        "float-32": (32, 1, 3),
        "signed-16": (16, 1, 2),
        "gray-32": (32, 1, 1),
        "float-16": (16, 1, 3),
        "bits-12": (12, 1, 1),
        "double": (64, 1, 3),
        "planar": (8, 3, 1),
        "separate-16": (16, 3, 1),
    }.get(kind, (8, 1, 1))
    length = width * height * bits * samples // 8
    pixels = bytes(n * 7 % 251 for n in range(length))
    tags = [
        (256, 3, width),
        (257, 3, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, 2 if samples == 3 else 1),
    ]
    if kind == "tiled":
        tags += [(277, 3, 1), (322, 3, 64), (323, 3, 48), (324, 4, 8), (325, 4, length), (339, 3, form)]
    else:
        tags += [(273, 4, 8), (277, 3, samples), (278, 3, height), (279, 4, length), (339, 3, form)]
    values = b""
    base = 8 + length
    directory = base + 64
    if samples == 3:
        plane = length // 3
        values = struct.pack("<3H2x3I3I", bits, bits, bits, 8, 8 + plane, 8 + 2 * plane, plane, plane, plane)
        tags = [(tag, kind_, value) for tag, kind_, value in tags if tag not in (258, 273, 279, 339)]
        wide = [(258, 3, 3, base), (273, 4, 3, base + 8), (279, 4, 3, base + 20), (284, 3, 1, 2)]
    else:
        wide = []
    entries = sorted([(tag, t, 1, value) for tag, t, value in tags] + wide)
    out = struct.pack(order + "H", len(entries))
    for tag, t, count, value in entries:
        short = t == 3 and count == 1
        out += struct.pack(order + "HHI", tag, t, count) + struct.pack(
            order + ("HH" if short else "I"), *([value, 0] if short else [value])
        )
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "I", directory)
    return head + pixels + values.ljust(64, b"\0") + out + bytes(4)


def all_stills() -> Iterator[Recipe]:
    """Every recipe of this module."""
    for family in (jpegs, pngs, gifs, others, tiffs):
        yield from family()
