"""What doctor finds out about an endpoint before any item is processed."""

from __future__ import annotations

import base64

import pytest

from tests.chat_endpoint import Answer, Answering, Asked, refused, said
from tests.processors.openai.conftest import Rigs

pytestmark = pytest.mark.anyio

MODELS = Answer({"object": "list", "data": [{"id": "model-1"}, {"id": "model-2"}]})


def answering(models: Answer, chat: Answer) -> Answering:
    return lambda asked: models if asked.path == "/v1/models" else chat


async def test_a_good_endpoint_is_shown_one_small_picture(rig: Rigs) -> None:
    here = await rig(answering(MODELS, said("grey")))
    assert await here.processor.examine() == ()
    [asked] = here.endpoint.chats
    picture = base64.b64decode(asked.body["messages"][0]["content"][1]["image_url"]["url"].partition(",")[2])
    assert picture.startswith(b"\xff\xd8")
    assert picture.endswith(b"\xff\xd9")
    assert asked.body["max_tokens"] <= 16


async def test_a_list_of_models_is_no_must(rig: Rigs) -> None:
    here = await rig(answering(refused(404), said("grey")))
    assert await here.processor.examine() == ()


FOUND = {
    "another model": (MODELS, said("grey"), "does not list the model 'model-9'", "model-1, model-2"),
    "a wrong key": (refused(401, "bad key"), said("grey"), "401", "api_key_file"),
    "no eyes": (Answer({"data": []}), refused(500, "image input is not supported"), "image input", "mmproj"),
    "away": (refused(503, "warming up"), said("grey"), "503", "base_url"),
    "no money": (Answer({"data": []}), refused(402, "Insufficient Balance"), "402", "top up"),
    "elsewhere": (
        Answer(b"", 301, {"Location": "/"}),
        Answer(b"", 301, {"Location": "/"}),
        "301",
        "base_url",
    ),
}


@pytest.mark.parametrize("name", FOUND)
async def test_each_problem_says_what_mends_it(rig: Rigs, name: str) -> None:
    models, chat, message, hint = FOUND[name]
    model = "model-9" if name == "another model" else "model-1"
    here = await rig(answering(models, chat), model=model)
    [problem] = await here.processor.examine()
    assert message in problem.message
    assert hint in problem.hint


async def test_a_parameter_that_is_refused_is_no_problem(rig: Rigs) -> None:
    def answers(asked: Asked) -> Answer:
        if asked.path == "/v1/models":
            return MODELS
        return (
            refused(400, "Unsupported parameter: 'max_tokens'.")
            if "max_tokens" in asked.body
            else said("grey")
        )

    here = await rig(answers)
    assert await here.processor.examine() == ()
