"""A server in front of an S3 emulator that can be told to be each of the stores in `stores`."""

from __future__ import annotations

import hashlib
import http.client
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus, unquote_plus, urlsplit
from xml.etree.ElementTree import Element, fromstring
from xml.sax.saxutils import escape

import pytest

from tests.emulators.s3_server import S3Server
from tests.emulators.stores import ODD, STORES, Quirks
from tests.fault_proxy import LOOPBACK

_PER_HOP = ("connection", "transfer-encoding", "content-length", "date", "server", "keep-alive")
_ETAG_STYLES: Mapping[str, str] = {"bare": "{}", "weak": 'W/"{}"', "empty": "", "empty_quoted": '""'}
Front = Callable[[str], S3Server]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: S3Server, quirks: Quirks) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.upstream, self.quirks = upstream, quirks


class _Answer:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.body = status, body
        self.headers = {name.lower(): value for name, value in headers.items()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        answer = self._refused() or self._told(self._asked(self.command, dict(self.headers.items()), body))
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name not in _PER_HOP:
                self.send_header(name, value)
        self._send(answer)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve  # noqa: N815

    def _send(self, answer: _Answer) -> None:
        """The body; of a HEAD its length alone, where the store tells it."""
        chunked = self._is_object() and self.server.quirks.lengths == "none" and self.command != "PUT"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            length = answer.headers.get("content-length") if self.command == "HEAD" else len(answer.body)
            self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        if self.command == "HEAD" or not (answer.body or chunked):
            return
        end = b"0\r\n\r\n"
        piece = b"%x\r\n%b\r\n" % (len(answer.body), answer.body) if answer.body else b""
        self.wfile.write(piece + end if chunked else answer.body)

    def _is_object(self) -> bool:
        """Whether an object is asked for or about, and no part of it."""
        parts = urlsplit(self.path)
        return parts.path.strip("/").count("/") > 0 and "uploadId" not in parts.query

    def _refused(self) -> _Answer | None:
        quirks, conditional = self.server.quirks, "If-Match" in self.headers and self.command == "GET"
        if self.command == "HEAD" and self._is_object() and quirks.heads != 200:
            return _Answer(quirks.heads, {}, b"")
        if conditional and quirks.conditions == "never_met":
            return _error(412, "PreconditionFailed")
        stretch = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if stretch and quirks.ranges in ("ends_refused", "ends_416"):
            plain = {name: value for name, value in self.headers.items() if name != "Range"}
            there = self._asked("HEAD", plain, b"")
            if there.status == 200 and int(stretch[2]) >= int(there.headers["content-length"]):
                refused = quirks.ranges == "ends_refused"
                return _error(400, "InvalidArgument") if refused else _error(416, "InvalidRange")
        return None

    def _asked(self, method: str, headers: dict[str, str], body: bytes) -> _Answer:
        """What the server behind says to the request, as far as the store would understand it."""
        quirks = self.server.quirks
        for name in list(headers):
            ignored = quirks.conditions == "ignored" and name.lower().startswith("if-")
            if ignored or (quirks.ranges == "ignored" and name.lower() == "range"):
                del headers[name]
        headers = {name: self._meant(name, value) for name, value in headers.items()}
        with closing(http.client.HTTPConnection(*self.server.upstream.address)) as connection:
            connection.request(method, self.path, body, headers)
            response = connection.getresponse()
            return _Answer(response.status, dict(response.headers.items()), response.read())

    def _meant(self, name: str, value: str) -> str:
        """An ETag of ours is unknown to the server behind: it is asked with its own."""
        if name.lower() != "if-match" or self.server.quirks.etags_are_md5:
            return value
        with closing(http.client.HTTPConnection(*self.server.upstream.address)) as connection:
            connection.request("HEAD", self.path)
            own = (connection.getresponse().headers.get("ETag") or "").strip('"')
        return f'"{own}"' if value.strip('"') == _hashed(own) else value

    def _told(self, answer: _Answer) -> _Answer:
        quirks = self.server.quirks
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query and answer.status == 200:
            return _Answer(200, answer.headers, _listing(answer.body, query, quirks))
        if self._is_object() and self.command in ("GET", "HEAD"):
            self._tell_etag(answer)
            if answer.status == 206 and quirks.ranges == "as_200":
                answer.status = 200
        return answer

    def _tell_etag(self, answer: _Answer) -> None:
        quirks = self.server.quirks
        etag = answer.headers.pop("etag", "").strip('"')
        if etag and quirks.told_etags != "none":
            answer.headers["etag"] = _styled(
                etag if quirks.etags_are_md5 else _hashed(etag), quirks.told_etags
            )


def _error(status: int, code: str) -> _Answer:
    body = f"<Error><Code>{code}</Code><Message>No</Message></Error>".encode()
    return _Answer(status, {"Content-Type": "application/xml"}, body)


def _hashed(etag: str) -> str:
    return hashlib.sha256(etag.encode()).hexdigest()[:32]


def _styled(etag: str, style: str) -> str:
    return _ETAG_STYLES.get(style, '"{}"').format(etag)


def _listing(body: bytes, query: Mapping[str, list[str]], quirks: Quirks) -> bytes:
    """The page as the store writes it."""
    root = fromstring(body)
    named = {_name(child): child.text or "" for child in root if not len(child)}
    encoded = named.get("EncodingType") == "url"
    entries = [_entry(child, quirks, encoded) for child in root if _name(child) == "Contents"]
    if quirks.order == "reversed":
        entries.reverse()
    entries *= 2 if quirks.order == "repeated" else 1
    prefixes = [group.findtext("{*}Prefix") or "" for group in root if _name(group) == "CommonPrefixes"]
    groups = [
        f"<CommonPrefixes><Prefix>{_key(each, quirks, encoded)}</Prefix></CommonPrefixes>"
        for each in prefixes
    ]
    kept = ("Name", "MaxKeys", "KeyCount", "IsTruncated", "NextContinuationToken")
    fields = [f"<{name}>{escape(named[name])}</{name}>" for name in kept if name in named]
    if encoded and quirks.encodes_keys:
        fields.append("<EncodingType>url</EncodingType>")
    whole = "max-keys" not in query
    parts = [*fields, *entries, *groups, quirks.entries if whole else ""]
    text = ("\n  " if quirks.pretty else "").join(parts)
    page = f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult>{text}</ListBucketResult>'
    return page.encode()


def _entry(element: Element, quirks: Quirks, encoded: bool) -> str:
    told = {_name(child): child.text or "" for child in element}
    etag, size = told["ETag"].strip('"'), int(told["Size"])
    etag = etag if quirks.etags_are_md5 else _hashed(etag)
    etag = _hashed(etag + "listed") if quirks.listed_etags == "other" else etag
    style = _styled(etag, quirks.listed_etags)
    quoted = style.replace('"', "&#34;") if quirks.listed_etags == "entities" else style
    sizes = {"zero": "0", "doubled": str(2 * size)}
    fields = [f"<Key>{_key(told['Key'], quirks, encoded)}</Key>"]
    fields += [f"<LastModified>{_time(told['LastModified'], quirks.times)}</LastModified>"] * (
        quirks.times != "none"
    )
    fields += [f"<ETag>{quoted}</ETag>"] * (quirks.listed_etags != "none")
    fields += [f"<Size>{sizes.get(quirks.sizes, size)}</Size>"] * (quirks.sizes != "none")
    fields += ["<StorageClass>STANDARD</StorageClass>"]
    between = "\n    " if quirks.pretty else ""
    return f"<Contents>{between.join(fields)}</Contents>"


def _key(raw: str, quirks: Quirks, encoded: bool) -> str:
    key = unquote_plus(raw) if encoded else raw
    if not (encoded and quirks.encodes_keys):
        return escape(key)
    return quote_plus(key, safe="/") if quirks.spaces_as_plus else quote(key, safe="/")


def _time(text: str, style: str) -> str:
    at = datetime.fromisoformat(text)
    if style == "rounded":
        at = (at + timedelta(seconds=1)).replace(microsecond=0)
    written = at.replace(microsecond=0) if style == "seconds" else at
    if style == "http":
        return format_datetime(at.replace(microsecond=0), usegmt=True)
    return written.isoformat(timespec="milliseconds").replace(
        "+00:00", "+00:00" if style == "offset" else "Z"
    )


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


@contextmanager
def fronted(upstream: S3Server, quirks: Quirks) -> Iterator[S3Server]:
    """A server that is like `upstream` but for the quirks, for the life of the block."""
    server = _Server(upstream, quirks)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield replace(upstream, endpoint_url="http://{}:{}".format(*server.server_address[:2]))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def store_front(ministack: S3Server) -> Iterator[Front]:
    """Gives the server that is the store of a name, one for all tests of a run."""
    made: dict[str, S3Server] = {}
    fronts = []

    def front(name: str) -> S3Server:
        if name not in made:
            fronts.append(fronted(ministack, {**STORES, **ODD}[name]))
            made[name] = fronts[-1].__enter__()
        return made[name]

    yield front
    for each in fronts:
        each.__exit__(None, None, None)
