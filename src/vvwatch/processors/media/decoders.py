"""The FFmpeg decoders that may read untrusted bytes: those of media that people keep today.

Most of FFmpeg's decoders are for old games and files of a few programs. Such files come here only to reach a decoder
that few have reviewed.
"""

from __future__ import annotations

from typing import Any, Final

from av.container import InputContainer

_PICTURES: Final = """
    h264 hevc vvc libdav1d vp9 vp8 vp7 vp6 vp6a vp6f theora vp3 mpeg1video mpeg2video mpegvideo mpeg4 msmpeg4
    msmpeg4v1 msmpeg4v2 h261 h263 h263i h263p flv wmv1 wmv2 wmv3 wmv3image vc1 vc1image mss1 mss2 mjpeg mjpegb
    prores dnxhd dvvideo cfhd jpeg2000 aic hap dirac cavs ffv1 ffvhuff huffyuv utvideo magicyuv lagarith rawvideo v210
    v210x v308 v408 v410 yuv4 r10k r210 avui svq1 svq3 cinepak rpza smc qtrle 8bps msrle msvideo1 indeo3 indeo4 indeo5
    flashsv flashsv2 camtasia tscc2 g2m zmbv snow png apng gif bmp tiff webp
"""
_SOUND: Final = """
    aac aac_latm mp3 mp3float mp2 mp2float mp1 mp1float mp3on4 mp3on4float ac3 eac3 dca truehd mlp flac alac als opus
    vorbis speex tta wavpack wmav1 wmav2 wmapro wmalossless wmavoice amrnb amrwb gsm gsm_ms ilbc qcelp qdm2 qdmc mace3
    mace6 nellymoser dvaudio s302m g722 g723_1 g726 g726le g729 truespeech atrac3 atrac3plus adpcm_ima_wav adpcm_ima_qt
    adpcm_ms adpcm_swf adpcm_yamaha pcm_alaw pcm_mulaw pcm_s8 pcm_s8_planar pcm_u8 pcm_s16le pcm_s16le_planar pcm_s16be
    pcm_s16be_planar pcm_u16le pcm_u16be pcm_s24le pcm_s24le_planar pcm_s24be pcm_u24le pcm_u24be pcm_s32le
    pcm_s32le_planar pcm_s32be pcm_u32le pcm_u32be pcm_s64le pcm_s64be pcm_f32le pcm_f32be pcm_f64le pcm_f64be
    pcm_bluray pcm_dvd
"""
DECODERS: Final = frozenset(f"{_PICTURES} {_SOUND}".split())
"""FFmpeg's names of the decoders; docs/media.md lists them."""

WHITELIST: Final = {"codec_whitelist": ",".join(sorted(DECODERS))}
"""The FFmpeg option that allows no other decoder, neither for probing nor for decoding."""


def restrict_decoders(container: InputContainer) -> None:
    """Let no other decoder decode a stream of `container`; trying raises a ValueError of FFmpeg."""
    for stream in container.streams:
        context: Any = stream.codec_context  # None for a codec that FFmpeg does not know
        if context is not None:
            context.options = dict(WHITELIST)
