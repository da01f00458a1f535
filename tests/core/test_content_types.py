from __future__ import annotations

from vvwatch.core.content_types import ANY_BYTES, content_type
from vvwatch.core.objects import MEDIA_TYPES


def test_every_medium_has_a_content_type_of_its_kind() -> None:
    for extension, media_type in MEDIA_TYPES.items():
        assert content_type(f"a/B.{extension.upper()}").startswith(f"{media_type}/")
    assert content_type("page.html") == content_type("mp4") == ANY_BYTES
