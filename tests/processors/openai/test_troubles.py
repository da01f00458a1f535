"""What an endpoint's refusal means."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from vvwatch.processors.openai.troubles import Kind, classify_trouble, read_retry_after

NOW = 1_790_000_000.0


def said(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


CASES: list[tuple[int, Any, Kind]] = [
    (400, said("Invalid parameter: 'response_format' of type 'json_schema' is not supported"), Kind.FORMAT),
    (400, said("Invalid schema for response_format 'segment': In context=(), 'x' is missing"), Kind.FORMAT),
    (400, {"detail": "failed to parse grammar"}, Kind.FORMAT),
    (500, said("json_schema_to_grammar: unsupported"), Kind.FORMAT),
    (400, said("maximum context length is 8192 tokens", code="context_length_exceeded"), Kind.CONTEXT),
    (400, said("the request exceeds the available context size", type="exceed_context_size_error"), Kind.CONTEXT),
    (500, said("image input is not supported - hint: provide the mmproj"), Kind.PICTURES),
    (400, said("Invalid content type. image_url is only supported by certain models."), Kind.PICTURES),
    (404, said("No endpoints found that support image input"), Kind.PICTURES),
    (400, said("audio input is not supported"), Kind.SOUND),
    (400, said("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."), Kind.PARAMETER),
    (400, said("Unsupported value: 'temperature' does not support 0 with this model."), Kind.PARAMETER),
    (429, said("You exceeded your quota, check your plan and billing", code="insufficient_quota"), Kind.MONEY),
    (402, said("Insufficient Balance"), Kind.MONEY),
    (401, said("Incorrect API key provided"), Kind.KEY),
    (403, said("forbidden"), Kind.KEY),
    (429, said("Rate limit reached"), Kind.BUSY),
    (408, "", Kind.AWAY),
    (409, "", Kind.AWAY),
    (425, "", Kind.AWAY),
    (500, "boom", Kind.AWAY),
    (502, "<html><body>Bad gateway: schema</body></html>", Kind.AWAY),
    (529, said("Overloaded"), Kind.AWAY),
    (404, said("model 'x' not found, try pulling it first"), Kind.MODEL),
    (404, said("The model `gpt-9` does not exist or you do not have access", code="model_not_found"), Kind.MODEL),
    (404, said("The model `Qwen/x` does not exist.", type="NotFoundError"), Kind.MODEL),
    (400, said("x/y is not a valid model ID"), Kind.MODEL),
    (404, said("Not Found"), Kind.REFUSED),
    (400, said("Invalid value: the image of the model was not found"), Kind.REFUSED),
    (400, said("what?"), Kind.REFUSED),
    (413, "", Kind.REFUSED),
    (422, [{"msg": "field required"}], Kind.REFUSED),
    (400, {"error": None}, Kind.REFUSED),
    (400, {"error": {"message": {"deep": [1]}, "code": ["x"]}}, Kind.REFUSED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "kind"), CASES, ids=[f"{case[0]} {str(case[1])[:60]}" for case in CASES]
)
def test_a_refusal_is_sorted_by_what_helps(status: int, body: Any, kind: Kind) -> None:
    assert classify_trouble(status, body, {}, NOW).kind is kind


def test_a_message_is_one_short_line_without_keys() -> None:
    trouble = classify_trouble(
        401, said("Incorrect key sk-proj-0123456789abc\n\x1b[31mprovided: " + "x" * 5000), {}, NOW
    )
    assert "0123456789" not in trouble.message
    assert "Incorrect key •••" in trouble.message
    assert trouble.message.isprintable()
    assert len(trouble.message) < 400


WAITS: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"retry-after": "20"}, 20),
    ({"retry-after": "0.5"}, 0.5),
    ({"retry-after": "-3"}, 0),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "inf"}, 86_400),
    ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90),
    ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 0),
    ({"retry-after-ms": "1500", "retry-after": "20"}, 1.5),
    ({"x-ms-retry-after-ms": "250"}, 0.25),
    ({"retry-after-ms": "x", "retry-after": "20"}, 20),
]


@pytest.mark.parametrize(("headers", "seconds"), WAITS, ids=str)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers, NOW) == (None if seconds is None else pytest.approx(seconds))
