"""The prompt of the technical processor: what it measures, of each segment and of the whole."""

from __future__ import annotations

from typing import Any, Final


def _object_schema(description: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _measure_schema(
    description: str, minimum: float | None = None, maximum: float | None = None
) -> dict[str, Any]:
    bounds = {"minimum": minimum, "maximum": maximum}
    return {
        "type": ["number", "null"],
        "description": description,
        **{name: value for name, value in bounds.items() if value is not None},
    }


def _count_schema(description: str) -> dict[str, Any]:
    return {"type": "integer", "description": description, "minimum": 0}


def _text_schema(description: str) -> dict[str, Any]:
    return {"type": ["string", "null"], "description": description}


_SEGMENT: Final = _object_schema(
    "Measurements of one segment; null where there is nothing to measure.",
    {
        "opened_by": {
            "type": "string",
            "description": "Why the segment begins where it does.",
            "enum": ["start", "cut", "dissolve", "silence", "interval", "length"],
        },
        "scene_score": _measure_schema(
            "Strength of the shot change that opens the segment, 0 to 100.", 0, 100
        ),
        "shot_changes": _count_schema(
            "Cuts and dissolves within the segment, not counting the one that opens it."
        ),
        "mean_luma": _measure_schema("Mean brightness of the picture, 16 is black and 235 is white.", 0, 255),
        "black_ratio": _measure_schema("Share of the segment in which the picture is black.", 0, 1),
        "frozen_ratio": _measure_schema("Share of the segment in which the picture stands still.", 0, 1),
        "motion": _measure_schema(
            "Mean difference between successive pictures, in percent of full scale.", 0, 100
        ),
        "loudness_lufs": _measure_schema("Integrated loudness, in LUFS."),
        "silence_ratio": _measure_schema("Share of the segment that is silent.", 0, 1),
    },
)

_WHOLE: Final = _object_schema(
    "Measurements of the whole media item; null where there is nothing to measure.",
    {
        "probe": _object_schema(
            "What the container says.",
            {
                "media_type": {"type": "string", "enum": ["video", "audio", "image"]},
                "container": {"type": "string", "description": "Name of the format."},
                "duration_seconds": _measure_schema("Duration in seconds.", 0),
                "width": _measure_schema("Width in pixels, as displayed.", 1),
                "height": _measure_schema("Height in pixels, as displayed.", 1),
                "rotation_degrees": _measure_schema(
                    "How far to turn the picture clockwise for display.", 0, 270
                ),
                "frame_rate": _measure_schema("Frames per second.", 0),
                "video_codec": _text_schema("Codec of the pictures."),
                "audio_codec": _text_schema("Codec of the sound."),
                "sample_rate": _measure_schema("Samples per second.", 1),
                "channels": _measure_schema("Channels of sound.", 1),
                "bit_rate": _measure_schema("Bits per second of the whole.", 0),
            },
        ),
        "loudness": _object_schema(
            "Loudness of the whole after ITU-R BS.1770 and EBU R 128.",
            {
                "integrated_lufs": _measure_schema("Integrated loudness, in LUFS."),
                "range_lu": _measure_schema("Loudness range, in LU.", 0),
                "true_peak_dbtp": _measure_schema("Highest true peak, in dB relative to full scale."),
                "silence_ratio": _measure_schema("Share of the whole that is silent.", 0, 1),
            },
        ),
        "counts": _object_schema(
            "How much was found.",
            {
                "segments": _count_schema("Segments."),
                "cuts": _count_schema("Hard cuts."),
                "dissolves": _count_schema("Dissolves and fades from one shot to the next."),
                "silences": _count_schema("Silences of at least 0.7 s."),
            },
        ),
        "tracks": {
            "type": "array",
            "description": "The tracks of pictures and sound; those that are not measured are decoded all the same.",
            "items": _object_schema(
                "One track.",
                {
                    "track": {"type": "integer", "description": "Its number in the file.", "minimum": 1},
                    "kind": {"type": "string", "enum": ["picture", "sound"]},
                    "codec": _text_schema("Codec."),
                    "language": _text_schema("Language, as the file names it."),
                    "packets": _count_schema("How many packets of it there are to show or to hear."),
                    "measured": {"type": "boolean", "description": "Whether the measurements are of it."},
                    "damaged": {"type": "boolean", "description": "Whether some of it could not be decoded."},
                },
            ),
        },
        "analysed_seconds": {
            "type": "number",
            "description": "How much of the media was decoded.",
            "minimum": 0,
        },
        "damage": {
            "type": "array",
            "description": "What is wrong with the media; empty when it is sound.",
            "items": {"type": "string"},
        },
    },
)

TECHNICAL_PROMPT: Final[dict[str, Any]] = {
    "name": "technical",
    "description": "Technical measurements without a model: shots, brightness, motion, loudness, silences, damage.",
    "prompt_text": (
        "Measure each segment of the media: what opens it, how many shots it has, how bright it is, how much it "
        "moves or stands still, how loud it is and how much of it is silent. Nothing is interpreted."
    ),
    "json_schema": _SEGMENT,
    "video_level": {
        "instructions_text": (
            "Report what the container says, the loudness of the whole, how many segments, cuts, dissolves and "
            "silences there are, and everything that is wrong with the file."
        ),
        "json_schema": _WHOLE,
    },
}
"""The default prompt, with the fields of `POST /prompts`; the one prompt that needs no model and no command."""

_SINCE_VERSION_4: Final = frozenset({"tracks", "rotation_degrees"})
"""Fields that prompts stored by older versions lack."""


def is_answerable(whole_schema: Any) -> bool:
    """Return whether `whole_schema` is what is measured of the whole, now or in an older version."""
    asked = _strip_schema(whole_schema)
    return asked in (_strip_schema(_WHOLE), _strip_schema(_WHOLE, _SINCE_VERSION_4))


def select_fields(metadata: Any, schema: Any) -> Any:
    """Return `metadata` without the fields that `schema` does not name."""
    if not isinstance(metadata, dict) or "properties" not in schema:
        return metadata
    named = schema["properties"]
    return {name: select_fields(value, named[name]) for name, value in metadata.items() if name in named}


def _strip_schema(schema: Any, without: frozenset[str] = frozenset()) -> Any:
    """Return `schema` without its descriptions and the properties `without`."""
    if isinstance(schema, list):
        return [item for item in schema if item not in without] if without else schema
    if not isinstance(schema, dict):
        return schema
    left_out = without | {"description"}
    return {name: _strip_schema(value, without) for name, value in schema.items() if name not in left_out}
