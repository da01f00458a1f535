"""Read a form with one file while it arrives: write the file to disk in pieces and hash it on the way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, TypeVar

import anyio
from anyio import to_thread
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vvwatch.api.http.errors import ApiError
from vvwatch.core.sniffing import SNIFFED_BYTES, format_of
from vvwatch.errors import InvalidInput
from vvwatch.providers.local.uploads import Arriving

_PIECE_BYTES: Final = 1 << 20
_MAX_FIELD_BYTES: Final = 16 << 10
_MAX_PARTS: Final = 20
_STALLED_SECONDS: Final = 120.0

M = TypeVar("M", bound=BaseModel)


@dataclass
class _Part:
    """One part of a form: a field and its value, or the file."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: str = ""
    file_name: str | None = None
    value: bytearray = field(default_factory=bytearray)


class FileForm:
    """A form with a part `file`, which is written to `file`; `named` checks its name and type before it is read.

    Afterwards `name` is the result of `named`. If `named` refuses, the first bytes of the file decide its type.
    """

    def __init__(self, file: Arriving, named: Callable[[str, str], str]) -> None:
        self.name = ""
        self._file = file
        self._named = named
        self._fields: dict[str, str] = {}
        self._waiting = bytearray()
        self._part = _Part()
        self._parts = 0
        self._header = bytearray()
        self._value = bytearray()
        self._refusal: InvalidInput | None = None

    async def read(self, request: Request) -> None:
        """Read the whole body. Raises HTTPException for an invalid form, and the errors of `named` and the file."""
        boundary = _parse_boundary(request)
        try:
            parser = MultipartParser(boundary, self._callbacks())
            async for piece in _read_pieces(request):
                parser.write(piece)
                if len(self._waiting) >= _PIECE_BYTES:
                    await self._flush()
            parser.finalize()
        except FormParserError as error:
            raise HTTPException(400, "it is malformed or ends too early") from error
        await self._flush()
        if not self._file.size_bytes:
            raise invalid_field("file", "the file is empty" if self.name else "is required")

    def fields(self, model: type[M]) -> M:
        """Return the other fields; an empty one counts as missing. Raises RequestValidationError."""
        given = {name: value for name, value in self._fields.items() if value}
        try:
            return model.model_validate(given)
        except ValidationError as error:
            found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
            raise RequestValidationError(found) from None

    def content(self) -> bytes:
        """A digest of the form's content, equal for equal forms however they are encoded."""
        whole = sorted(
            [*self._fields.items(), ("file", self.name, self._file.digest())], key=lambda each: each[0]
        )
        return sha256(json.dumps(whole).encode()).digest()

    async def _flush(self) -> None:
        if self._waiting:
            data, self._waiting = self._waiting, bytearray()
            await to_thread.run_sync(self._file.write, data)

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._take,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._part = _Part()
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise HTTPException(400, f"it has more than {_MAX_PARTS} parts")

    def _end_header(self) -> None:
        self._part.headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _open(self) -> None:
        part = self._part
        _, options = parse_options_header(part.headers.get(b"content-disposition", b""))
        part.name = _decode_text(options.get(b"name", b""))
        if part.name == "file":
            if b"filename" not in options or self.name or self._refusal:
                raise invalid_field("file", "must be one file with a name")
            part.file_name = _decode_text(options[b"filename"])
            try:
                self.name = self._named(part.file_name, _decode_text(part.headers.get(b"content-type", b"")))
            except InvalidInput as refusal:
                self._refusal = refusal
        elif part.name in self._fields:
            raise HTTPException(400, f"the field {part.name!r} occurs twice")

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._part.file_name is not None:
            self._waiting += data[start:end]
            if self._refusal and len(self._waiting) >= SNIFFED_BYTES:
                self._name_by_content()
            return
        self._part.value += data[start:end]
        if len(self._part.value) > _MAX_FIELD_BYTES:
            raise HTTPException(
                400, f"the field {self._part.name!r} is longer than {_MAX_FIELD_BYTES:,} bytes"
            )

    def _end(self) -> None:
        if self._part.file_name is None:
            self._fields[self._part.name] = _decode_text(bytes(self._part.value))
        elif self._refusal:
            self._name_by_content()

    def _name_by_content(self) -> None:
        """Detect the type by content. Raises the error of the name if that fails too."""
        kind = format_of(bytes(self._waiting[:SNIFFED_BYTES]))
        if self._refusal and kind is None:
            raise self._refusal
        self._refusal = None
        self.name = self._named(f"{self._part.file_name or 'upload'}.{kind}", "")


def invalid_field(name: str, what: str) -> RequestValidationError:
    """Return the error for a field, in the form of a model's validation error."""
    return RequestValidationError([{"loc": ("body", name), "msg": what}])


def _parse_boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise invalid_field("file", "send the file in a form: Content-Type: multipart/form-data")
    if not options.get(b"boundary"):
        raise HTTPException(400, "its Content-Type has no boundary")
    return options[b"boundary"]


def _decode_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise HTTPException(400, "a name or a value is not UTF-8") from None


async def _read_pieces(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it arrives. Raises ApiError when nothing arrives for two minutes."""
    stream = aiter(request.stream())
    while True:
        with anyio.move_on_after(_STALLED_SECONDS) as waiting:
            try:
                piece = await anext(stream, None)
            except ClientDisconnect:
                raise HTTPException(400, "the upload broke off") from None
        if waiting.cancelled_caught:
            raise ApiError(408, "request_timeout", "the file stopped arriving", "send it again")
        if piece is None:
            return
        yield piece
