"""Valid moving pictures: containers and codecs, as encoders write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from tests.media.recipe import Recipe, Truth
from tests.media.writing import Extra, Hear, See, write

Track = See | Hear | Extra


def clip(
    name: str,
    *tracks: Track,
    group: str = "",
    format: str | None = None,  # noqa: A002
    options: Mapping[str, str] | None = None,
    pipe: bool = False,
    metadata: Mapping[str, str] | None = None,
    chapters: Sequence[tuple[float, float, str]] = (),
    attachment: bytes = b"",
) -> Recipe:
    """A recipe that writes `tracks` with PyAV; its group is the extension unless it is named."""

    def make(path: Path) -> Truth:
        return write(
            path,
            *tracks,
            format=format,
            options=options,
            pipe=pipe,
            metadata=metadata,
            chapters=chapters,
            attachment=attachment,
        )

    return Recipe(name, group or name.rpartition(".")[2], make)


X264 = See(options={"bf": "0"})
B_FRAMES = See(options={"preset": "veryfast", "bf": "3", "g": "25"})
X265 = See("libx265", seconds=1.2)
AV1 = See("libsvtav1", seconds=1.0)
VP8 = See("libvpx")
VP9 = See("libvpx-vp9", seconds=1.2)
MPEG2 = See("mpeg2video", options={"bf": "2", "g": "12"})
MPEG4 = See("mpeg4")
MJPEG = See("mjpeg", seconds=1.2, pixels="yuvj420p")
PRORES = See("prores_ks", seconds=0.6, pixels="yuv422p10le")
DNXHR = See("dnxhd", seconds=0.4, size=(256, 144), pixels="yuv422p", options={"profile": "dnxhr_sq"})
DNXHD = See(
    "dnxhd",
    seconds=0.2,
    size=(1280, 720),
    pixels="yuv422p",
    options={"b": "60M", "profile": "dnxhd"},
    rate=25,
)
HUFFYUV = See("huffyuv", seconds=0.6, pixels="yuv422p")
FFV1 = See("ffv1", seconds=0.6)
UT = See("utvideo", seconds=0.6)
DV = See("dvvideo", seconds=0.4, size=(720, 576), pixels="yuv420p")

AAC, OPUS, VORBIS = Hear("aac"), Hear("libopus"), Hear("vorbis")
MP3, MP2, AC3, EAC3 = Hear("libmp3lame"), Hear("mp2"), Hear("ac3"), Hear("eac3")
PCM16, PCM24, PCM16BE = Hear("pcm_s16le"), Hear("pcm_s24le"), Hear("pcm_s16be")
FLAC, ALAC = Hear("flac"), Hear("alac")


def _short(track: Hear, seconds: float) -> Hear:
    return replace(track, seconds=seconds)


def matrix() -> Iterator[Recipe]:
    """Containers and codecs, each as its muxer writes it without being told anything."""
    table: Mapping[str, Mapping[str, tuple[Track, ...]]] = {
        "mp4": {
            "h264-aac": (X264, AAC),
            "h264-b-aac": (B_FRAMES, AAC),
            "hevc-aac": (replace(X265, tag="hvc1"), AAC),
            "av1-opus": (AV1, OPUS),
            "mpeg4-aac": (MPEG4, AAC),
            "vp9-opus": (VP9, OPUS),
            "h264-ac3": (X264, AC3),
            "h264-eac3": (X264, EAC3),
            "h264-mp3": (X264, MP3),
            "h264-alac": (X264, ALAC),
            "h264-flac": (X264, FLAC),
            "mpeg2-mp2": (MPEG2, MP2),
            "mjpeg-aac": (MJPEG, AAC),
            "h264-mute": (X264,),
            "h264-10bit": (replace(X264, pixels="yuv420p10le"), AAC),
            "h264-422": (replace(X264, pixels="yuv422p"), AAC),
            "h264-444": (replace(X264, pixels="yuv444p"),),
            "hevc-10bit": (replace(X265, pixels="yuv420p10le"), AAC),
            "hevc-hev1": (replace(X265, tag="hev1"),),
            "av1-10bit": (replace(AV1, pixels="yuv420p10le"),),
            "mpeg1-mp2": (See("mpeg1video"), MP2),
            "h264-mono": (X264, Hear(layout="mono", rate=44100)),
            "h264-51": (X264, Hear(layout="5.1")),
            "h264-opus": (X264, OPUS),
            "png-aac": (See("png", seconds=0.6, pixels="rgb24"), AAC),
        },
        "mov": {
            "h264-aac": (X264, AAC),
            "h264-pcm": (X264, PCM16),
            "prores-pcm24": (PRORES, PCM24),
            "prores-4444": (
                See("prores_ks", seconds=0.4, pixels="yuva444p10le", options={"profile": "4444"}),
            ),
            "dnxhr-pcm": (DNXHR, PCM16),
            "mjpeg-pcm": (MJPEG, PCM16),
            "hevc-aac": (replace(X265, tag="hvc1"), AAC),
            "qtrle": (See("qtrle", seconds=0.6, pixels="rgb24"),),
            "png-rgba": (See("png", seconds=0.6, pixels="rgba"),),
            "raw-pcm": (See("rawvideo", seconds=0.4, pixels="uyvy422"), PCM16),
            "v210": (See("v210", seconds=0.4, size=(192, 108), pixels="yuv422p10le"),),
            "dv": (DV, _short(PCM16, 0.4)),
            "mpeg4-ima": (MPEG4, Hear("adpcm_ima_qt", rate=44100)),
            "h264-alac": (X264, ALAC),
            "h264-pcm-be": (X264, PCM16BE),
            "h264-float": (X264, Hear("pcm_f32le")),
            "cfhd": (See("cfhd", seconds=0.4, size=(160, 96), pixels="yuv422p10le"),),
            "h264-ulaw": (X264, Hear("pcm_mulaw", rate=8000, layout="mono")),
            "mpeg2-pcm": (MPEG2, PCM16),
            "rpza": (See("rpza", seconds=0.4, size=(160, 96), pixels="rgb555le"),),
            "smc": (See("smc", seconds=0.4, size=(160, 96), pixels="pal8"),),
            "svq1": (See("svq1", seconds=0.4, size=(160, 96), pixels="yuv410p"),),
            "h263": (See("h263", size=(176, 144)), AAC),
            "jpeg2000": (See("jpeg2000", seconds=0.3, pixels="yuv420p"),),
        },
        "mkv": {
            "h264-aac": (X264, AAC),
            "h264-b-ac3": (B_FRAMES, AC3),
            "hevc-opus": (X265, OPUS),
            "av1-opus": (AV1, OPUS),
            "vp8-vorbis": (VP8, VORBIS),
            "vp9-opus": (VP9, OPUS),
            "ffv1-flac": (FFV1, FLAC),
            "mpeg2-ac3": (MPEG2, AC3),
            "mpeg4-mp3": (replace(MPEG4, options={"bf": "2"}), MP3),
            "prores-pcm": (PRORES, PCM16),
            "mjpeg-pcm": (MJPEG, PCM24),
            "h264-alac": (X264, ALAC),
            "h264-eac3": (X264, EAC3),
            "h264-tta": (X264, Hear("tta")),
            "h264-wavpack": (X264, Hear("wavpack")),
            "h264-float": (X264, Hear("pcm_f32le")),
            "raw": (See("rawvideo", seconds=0.4),),
            "h264-10bit": (replace(X264, pixels="yuv420p10le"),),
            "hevc-10bit": (replace(X265, pixels="yuv420p10le"), AAC),
            "mpeg1-mp2": (See("mpeg1video"), MP2),
            "h264-rgb": (See("libx264rgb", pixels="rgb24"),),
            "snow": (See("snow", seconds=0.4, pixels="yuv420p"),),
            "h264-51": (X264, Hear("ac3", layout="5.1")),
            "msmpeg4": (See("msmpeg4"),),
            "av1-aac": (AV1, AAC),
        },
        "webm": {
            "vp8-vorbis": (VP8, VORBIS),
            "vp9-opus": (VP9, OPUS),
            "av1-opus": (AV1, OPUS),
            "vp8-mute": (VP8,),
            "vp9-444": (replace(VP9, pixels="yuv444p"),),
            "vp8-alpha": (replace(VP8, pixels="yuva420p", options={"auto-alt-ref": "0"}),),
            "vp9-alpha": (replace(VP9, pixels="yuva420p", options={"auto-alt-ref": "0"}),),
            "vp8-altref": (
                replace(VP8, options={"deadline": "good", "auto-alt-ref": "1", "lag-in-frames": "12"}),
                OPUS,
            ),
            "vp9-altref": (
                replace(VP9, options={"deadline": "good", "auto-alt-ref": "1", "lag-in-frames": "12"}),
                OPUS,
            ),
        },
        "avi": {
            "mpeg4-mp3": (MPEG4, MP3),
            "mjpeg-pcm": (MJPEG, PCM16),
            "h264-mp3": (X264, MP3),
            "h264-ac3": (X264, AC3),
            "msmpeg4-mp2": (See("msmpeg4v2"), MP2),
            "huffyuv": (HUFFYUV, PCM16),
            "ffv1": (FFV1,),
            "utvideo": (UT, PCM16),
            "raw": (See("rawvideo", seconds=0.4, pixels="yuv420p"), PCM16),
            "wmv2-mp3": (See("wmv2"), MP3),
            "dv": (DV, _short(PCM16, 0.4)),
            "msvideo1": (See("msvideo1", seconds=0.4, size=(160, 96), pixels="rgb555le"),),
            "mpeg4-b": (replace(MPEG4, options={"bf": "2"}), MP3),
            "mpeg4-adpcm": (MPEG4, Hear("adpcm_ms")),
            "cinepak": (See("cinepak", seconds=0.2, size=(160, 96), pixels="rgb24"),),
            "zmbv": (See("zmbv", seconds=0.6, pixels="bgr0"),),
            "h264-aac": (X264, AAC),
            "mpeg2-mp2": (MPEG2, MP2),
            "flv1": (See("flv"), MP3),
            "magicyuv": (See("magicyuv", seconds=0.4),),
            "rgb-raw": (See("rawvideo", seconds=0.4, pixels="bgr24"),),
        },
        "mxf": {
            "mpeg2-pcm": (MPEG2, PCM16),
            "mpeg2-422": (replace(MPEG2, pixels="yuv422p"), PCM24),
            "dnxhr-pcm": (DNXHR, _short(PCM16, 0.4)),
            "h264-pcm": (replace(X264, options={"bf": "0", "g": "1"}), PCM16),
            "mute": (MPEG2,),
            "prores-pcm24": (PRORES, _short(PCM24, 0.6)),
            "two-sounds": (MPEG2, Hear("pcm_s16le", layout="mono"), Hear("pcm_s16le", layout="mono")),
            "dnxhd": (DNXHD, _short(PCM16, 0.2)),
            "h264-b": (B_FRAMES, PCM16),
        },
        "ts": {
            "h264-aac": (X264, AAC),
            "h264-b-ac3": (B_FRAMES, AC3),
            "hevc-aac": (X265, _short(AAC, 1.2)),
            "mpeg2-mp2": (MPEG2, MP2),
            "mpeg2-ac3": (MPEG2, AC3),
            "h264-mp3": (X264, MP3),
            "h264-opus": (X264, OPUS),
            "h264-eac3": (X264, EAC3),
            "h264-mute": (X264,),
            "sound-only": (AAC,),
            "two-sounds": (X264, MP2, AC3),
        },
        "m2ts": {
            "h264-ac3": (B_FRAMES, AC3),
            "mpeg2-ac3": (MPEG2, AC3),
            "h264-bluray-pcm": (X264, Hear("pcm_bluray")),
            "hevc-ac3": (X265, _short(AC3, 1.2)),
        },
        "mts": {"avchd": (B_FRAMES, AC3)},
        "mpg": {"mpeg1-mp2": (See("mpeg1video"), MP2), "mpeg2-mp2": (MPEG2, MP2), "mute": (MPEG2,)},
        "flv": {
            "flv1-mp3": (See("flv"), Hear("libmp3lame", rate=44100)),
            "h264-aac": (X264, AAC),
            "mute": (X264,),
            "h264-b": (B_FRAMES, AAC),
            "screen": (See("flashsv", seconds=0.6, pixels="bgr24"),),
            "hevc-aac": (X265, AAC),
            "sound-only": (AAC,),
        },
        "wmv": {
            "wmv2-wma2": (See("wmv2"), Hear("wmav2", options={"b": "96k"})),
            "wmv1-wma1": (See("wmv1"), Hear("wmav1", options={"b": "96k"})),
            "msmpeg4-mp3": (See("msmpeg4"), MP3),
            "mute": (See("wmv2"),),
        },
        "3gp": {
            "h263-amr": (See("h263", size=(176, 144)), Hear("libopencore_amrnb", rate=8000, layout="mono")),
            "mpeg4-aac": (replace(MPEG4, size=(176, 144)), AAC),
            "h264-aac": (X264, AAC),
        },
        "m4v": {"h264-aac": (X264, AAC)},
    }
    formats = {"m2ts": "mpegts", "mts": "mpegts", "mpg": "vob", "wmv": "asf", "m4v": "mp4"}
    extra: Mapping[str, Mapping[str, str]] = {
        "m2ts": {"mpegts_m2ts_mode": "1"},
        "mts": {"mpegts_m2ts_mode": "1"},
        "mkv": {"strict": "experimental"},
        "mov": {"strict": "experimental"},
    }
    for container, rows in table.items():
        for codecs, tracks in rows.items():
            yield clip(
                f"{codecs}.{container}", *tracks, format=formats.get(container), options=extra.get(container)
            )


RATES: Mapping[str, Fraction] = {
    "ntsc": Fraction(30000, 1001),
    "film": Fraction(24000, 1001),
    "sixty": Fraction(60000, 1001),
    "slow": Fraction(5),
    "one": Fraction(1),
    "high": Fraction(120),
}


def rates() -> Iterator[Recipe]:
    """Frame rates that recorders use, in the containers that write rates differently."""
    for name, rate in RATES.items():
        seconds = 4.0 if rate <= 5 else 1.001
        for container in (
            ("mp4", "mkv") if name not in {"ntsc", "film"} else ("mp4", "mkv", "avi", "ts", "mxf")
        ):
            see = {"avi": MPEG4, "mxf": MPEG2}.get(container, B_FRAMES)
            yield clip(f"rate-{name}.{container}", replace(see, rate=rate, seconds=seconds))
