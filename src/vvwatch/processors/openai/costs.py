"""Estimates the tokens of a request and their cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vvwatch.config.processors import OpenAIProcessor
from vvwatch.core.money import Forecast, Usage, Workload
from vvwatch.ports.processing import Prompt
from vvwatch.processors.openai.replies import Reply

_CHARACTERS_A_TOKEN: Final = 3
_OVERHEAD_TOKENS: Final = 300
_SOUND_TOKENS_A_SECOND: Final = 32
_RESULT_TOKENS: Final = 300
_TILE: Final = 512
_TILE_TOKENS: Final = 170
_PICTURE_TOKENS: Final = 85


def estimate_text_tokens(text: str) -> int:
    """Return an upper estimate of a text's tokens: more than most tokenizers count."""
    return math.ceil(len(text.encode("utf-8", "replace")) / _CHARACTERS_A_TOKEN)


def estimate_picture_tokens(width: int) -> int:
    """Return the tokens of a picture of that width, by the most expensive common formula."""
    return _PICTURE_TOKENS + _TILE_TOKENS * math.ceil(width / _TILE) ** 2


def estimate_request_tokens(messages: Sequence[Mapping[str, Any]], frame_width: int) -> int:
    """Return an upper estimate of the messages' tokens."""
    return _OVERHEAD_TOKENS + sum(_content_tokens(each["content"], frame_width) for each in messages)


def estimate_usage(table: OpenAIProcessor, model: str, input_tokens: int, output_tokens: int) -> Usage:
    """Return the most that a call uses; its cost is None if the price is unknown."""
    price = table.price_of(model)
    cost = None if price is None else price.cost_of(input_tokens, output_tokens)
    return Usage(input_tokens, output_tokens, cost)


def reported_usage(table: OpenAIProcessor, asked_model: str, reply: Reply, estimate: Usage) -> Usage:
    """Return what a call used, by the endpoint's own count, else by the estimate."""
    names = [reply.model, asked_model] if reply.model else [asked_model]
    named = next((name for name in names if table.price_of(name) is not None), asked_model)
    if reply.input_tokens is None or reply.output_tokens is None:
        return estimate_usage(table, named, estimate.input_tokens, estimate_text_tokens(reply.text))
    return estimate_usage(table, named, reply.input_tokens, reply.output_tokens)


def forecast_run(table: OpenAIProcessor, model: str, workload: Workload, prompt: Prompt) -> Forecast:
    """Return a run's cost if every segment is answered at the first attempt and at full length."""
    segments, output = workload.segments_at_most, table.max_output_tokens
    calls, tokens = segments, segments * _segment_tokens(table, workload, prompt)
    if prompt.video_level:
        calls += workload.items
        tokens += workload.items * _OVERHEAD_TOKENS + segments * min(_RESULT_TOKENS, output)
    price = table.price_of(model)
    cost = None if price is None else price.cost_of(tokens, calls * output) + (calls - 1) * price.usd_per_call
    return Forecast(calls, tokens, calls * output, cost)


def _segment_tokens(table: OpenAIProcessor, workload: Workload, prompt: Prompt) -> int:
    words = (
        estimate_text_tokens(prompt.prompt_text)
        + estimate_text_tokens(str(prompt.json_schema))
        + _OVERHEAD_TOKENS
    )
    pictures = {"audio": 0, "image": 1}.get(workload.media_type, table.frames_per_segment)
    sound = 0
    if table.send_audio and workload.media_type != "image":
        seconds = workload.seconds / max(1, workload.segments_at_most)
        sound = math.ceil(seconds * _SOUND_TOKENS_A_SECOND)
    return words + pictures * estimate_picture_tokens(table.frame_width) + sound


def _content_tokens(content: str | Sequence[Mapping[str, Any]], frame_width: int) -> int:
    if isinstance(content, str):
        return estimate_text_tokens(content)
    return sum(_part_tokens(part, frame_width) for part in content)


def _part_tokens(part: Mapping[str, Any], frame_width: int) -> int:
    match part["type"]:
        case "text":
            return estimate_text_tokens(part["text"])
        case "image_url":
            return estimate_picture_tokens(frame_width)
    wav_bytes = len(part["input_audio"]["data"]) * 3 // 4
    return wav_bytes * _SOUND_TOKENS_A_SECOND // 32_000
