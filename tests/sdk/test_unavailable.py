"""What needs a model says so at once, in a way that a program can tell from a failure."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
import videovector

from tests.sdk.twins import Twin
from tests.sdk.world import World

PICTURE = base64.b64encode(b"picture").decode()
CALLS: dict[str, Callable[[Twin, World], Any]] = {
    "workflow.define": lambda sdk, world: sdk.workflow.define("Find every boat."),
    "workflow.process": lambda sdk, world: sdk.workflow.process(
        prompt_instruction="Find every boat.", index_id=world.index_id
    ),
    "search.image": lambda sdk, world: sdk.search.image(world.index_id, image_data=PICTURE),
    "search.multimodal": lambda sdk, world: sdk.search.multimodal(world.index_id, text_query="boats"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_needs_a_model_says_so(sdk: Twin, world: World, name: str) -> None:
    with pytest.raises(videovector.ValidationError) as caught:
        CALLS[name](sdk, world)
    assert (caught.value.status_code, caught.value.error_code) == (422, "model_not_configured")
    assert (caught.value.details or {})["hint"]
