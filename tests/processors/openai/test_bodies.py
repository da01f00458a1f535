"""Requests as bytes: the JSON that they would be, with the blobs in it."""

from __future__ import annotations

import base64
import json

from vvwatch.processors.openai.prompting import Blob, encode_body, picture_part, sound_part


def test_blobs_stand_where_they_belong() -> None:
    pictures = [bytes([n]) * 1000 for n in range(3)]
    request = {"a": "ä\n", "parts": [*map(picture_part, pictures), sound_part(b"RIFF")], "z": [1, None]}
    read = json.loads(encode_body(request))
    urls = [part["image_url"]["url"].removeprefix("data:image/jpeg;base64,") for part in read["parts"][:3]]
    assert [base64.b64decode(url) for url in urls] == pictures
    assert base64.b64decode(read["parts"][3]["input_audio"]["data"]) == b"RIFF"
    assert (read["a"], read["z"]) == ("ä\n", [1, None])
    assert encode_body(request) == encode_body(request)


def test_no_text_can_stand_for_a_blob() -> None:
    for name in ("\x00", "{}", "%s", "@0", "\ue000"):
        assert json.loads(encode_body({"name": name, "blob": Blob("", b"x")})) == {
            "name": name,
            "blob": "eA==",
        }
