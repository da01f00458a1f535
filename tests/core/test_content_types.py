from __future__ import annotations

from vvwatch.core.content_types import ANY_BYTES, content_type
from vvwatch.core.objects import MEDIA_TYPES
from vvwatch.core.uploads import file_name


def test_every_medium_has_a_content_type_of_its_kind() -> None:
    for extension, media_type in MEDIA_TYPES.items():
        kind = "application" if extension == "mxf" else media_type  # the registered name (RFC 4539)
        assert content_type(f"a/B.{extension.upper()}").startswith(f"{kind}/")
    assert content_type("page.html") == content_type("mp4") == ANY_BYTES


def test_an_upload_without_an_extension_gets_one_by_its_content_type() -> None:
    for extension in MEDIA_TYPES:
        named = file_name("take", content_type(f"a.{extension}"))
        assert content_type(named) == content_type(f"a.{extension}")
        assert file_name(f"take.{extension}") == f"take.{extension}"
