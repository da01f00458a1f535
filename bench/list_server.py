"""A server that does nothing but list: S3, Google Cloud Storage and Azure Blob Storage on one port of loopback.

Usage: python bench/list_server.py [--keys N] [--folders N] [--latency-ms N] [--page-keys N] [--port N]

Prints its port when it is ready, and serves until it is terminated. Whatever the bucket is called, it holds the same
keys, evenly in folders: data/000/2026/11/22/part-…; pages are as full of fields as those of the services, and as long
unless told to be shorter, and honour prefix, delimiter, page size, token, and the `fields` of Google's. Objects are
written before the first request, once for all folders: a page is a slice of them, with the folder put in.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from itertools import accumulate
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

LAST = "\U0010ffff"
FOLDER = "@@@"

Query = Mapping[str, str]


class Found(NamedTuple):
    """A page: stretches of objects, folders, and the number of the first key behind it."""

    stretches: list[range]
    folders: list[str]
    more_from: int | None

    @property
    def entries(self) -> int:
        return sum(map(len, self.stretches)) + len(self.folders)


@dataclass(frozen=True)
class Tree:
    """Keys by their number in sorted order; none of them is kept."""

    keys: int
    folders: int

    @property
    def per_folder(self) -> int:
        return -(-self.keys // self.folders)

    def folder(self, number: int) -> str:
        return f"{number // self.per_folder:0{len(FOLDER)}}"

    def key(self, number: int) -> str:
        return key(number % self.per_folder).replace(FOLDER, self.folder(number))

    def place(self, text: str) -> int:
        return bisect_left(range(self.keys), text, key=self.key)

    def page(self, prefix: str, delimiter: str, start: int, most: int) -> Found:
        below = range(max(start, self.place(prefix)), self.place(prefix + LAST))
        if delimiter:
            return self._level(prefix, delimiter, below, most)
        return Found([below[:most]], [], below[most] if len(below) > most else None)

    def _level(self, prefix: str, delimiter: str, below: range, most: int) -> Found:
        found = Found([], [], None)
        while below and found.entries < most:
            name, slash, _ = self.key(below[0])[len(prefix) :].partition(delimiter)
            if slash:
                found.folders.append(prefix + name + slash)
                below = range(self.place(found.folders[-1] + LAST), below.stop)
            else:
                found.stretches.append(below[:1])
                below = below[1:]
        return found._replace(more_from=below[0] if below else None)


class Written:
    """The objects of a folder as a service writes them, to be cut at will."""

    def __init__(self, tree: Tree, write: Callable[[int], str]) -> None:
        objects = [write(place).encode() for place in range(tree.per_folder)]
        self._tree = tree
        self._text = b"".join(objects)
        self._starts = [0, *accumulate(map(len, objects))]

    def of(self, stretches: Iterable[range]) -> Iterator[bytes]:
        for stretch in stretches:
            rest = stretch
            while rest:
                start = rest[0] % self._tree.per_folder
                end = min(start + len(rest), self._tree.per_folder)
                text = self._text[self._starts[start] : self._starts[end]]
                yield text.replace(FOLDER.encode(), self._tree.folder(rest[0]).encode())
                rest = rest[end - start :]


def digest(place: int) -> str:
    return hashlib.md5(b"%d" % place).hexdigest()


def key(place: int) -> str:
    return f"data/{FOLDER}/2026/11/22/part-{place:07}-{digest(place)[:8]}.mp4"


def size(place: int) -> int:
    return 1_000 + place * 37


def moment(place: int) -> int:
    return 1_795_000_000 + place * 61


def iso(place: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment(place)))


def s3_object(place: int) -> str:
    return (
        f"<Contents><Key>{key(place)}</Key><LastModified>{iso(place)}.000Z</LastModified>"
        f"<ETag>&quot;{digest(place)}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
        f"<ChecksumType>FULL_OBJECT</ChecksumType><Size>{size(place)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def google_xml_object(place: int) -> str:
    return (
        f"<Contents><Key>{key(place)}</Key><Generation>{moment(place)}000001</Generation>"
        f"<MetaGeneration>1</MetaGeneration><LastModified>{iso(place)}.123Z</LastModified>"
        f'<ETag>"{digest(place)}"</ETag><Size>{size(place)}</Size></Contents>'
    )


def google_fields(place: int) -> dict[str, str]:
    name, generation, updated = key(place), f"{moment(place)}000001", f"{iso(place)}.123Z"
    path = f"storage/v1/b/bucket/o/{quote(name, safe='@')}"
    return {
        "kind": "storage#object",
        "id": f"bucket/{name}/{generation}",
        "selfLink": f"https://www.googleapis.com/{path}",
        "mediaLink": f"https://storage.googleapis.com/download/{path}?generation={generation}&alt=media",
        "name": name,
        "bucket": "bucket",
        "generation": generation,
        "metageneration": "1",
        "contentType": "video/mp4",
        "storageClass": "STANDARD",
        "size": str(size(place)),
        "md5Hash": f"{digest(place)[:22]}==",
        "crc32c": f"{digest(place)[:6]}==",
        "etag": f"{digest(place)[:12]}EAE=",
        "timeCreated": updated,
        "updated": updated,
        "timeStorageClassUpdated": updated,
        "timeFinalized": updated,
    }


def google_object(place: int, only: frozenset[str]) -> str:
    fields = google_fields(place)
    kept = {name: value for name, value in fields.items() if not only or name in only}
    return json.dumps(kept, indent=None if only else 2) + ","


def azure_object(place: int) -> str:
    at = formatdate(moment(place), usegmt=True)
    return (
        f"<Blob><Name>{key(place)}</Name><Properties><Creation-Time>{at}</Creation-Time>"
        f"<Last-Modified>{at}</Last-Modified><Etag>0x8DE{digest(place)[:12].upper()}</Etag>"
        f"<Content-Length>{size(place)}</Content-Length><Content-Type>video/mp4</Content-Type>"
        f"<Content-Encoding /><Content-Language /><Content-CRC64 /><Content-MD5>{digest(place)[:22]}==</Content-MD5>"
        "<Cache-Control /><Content-Disposition /><BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>"
        "<AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>"
        "<LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties>"
        "<OrMetadata /></Blob>"
    )


class Services:
    """The answers of three services to a listing: the content type, and the parts of the body."""

    def __init__(self, tree: Tree, page_keys: int) -> None:
        self._tree = tree
        self._page_keys = page_keys
        self._s3 = Written(tree, s3_object)
        self._google_xml = Written(tree, google_xml_object)
        self._azure = Written(tree, azure_object)
        self._google: dict[frozenset[str], Written] = {}
        self._google_of(frozenset())

    def answer(self, path: str, query: Query) -> tuple[str, list[bytes]]:
        if query.get("comp") == "list":
            return "application/xml", self._azure_page(query)
        if path.startswith("/storage/v1/b/"):
            return "application/json; charset=UTF-8", self._google_page(query)
        return "application/xml", self._s3_page(query, self._google_xml if "gcs" in path else self._s3)

    def _found(self, query: Query, token: str, page_size: str, most: int) -> Found:
        start = int(query.get(token) or 0)
        most = min(int(query.get(page_size) or most), most, self._page_keys)
        return self._tree.page(query.get("prefix", ""), query.get("delimiter", ""), start, most)

    def _s3_page(self, query: Query, written: Written) -> list[bytes]:
        found = self._found(query, "continuation-token", "max-keys", 1_000)
        more = found.more_from is not None
        head = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>'
            f"<Prefix>{query.get('prefix', '')}</Prefix>"
            f"{element('NextContinuationToken', found.more_from) if more else ''}"
            f"<KeyCount>{found.entries}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"{element('EncodingType', 'url') if 'encoding-type' in query else ''}"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
        )
        folders = "".join(element("CommonPrefixes", element("Prefix", folder)) for folder in found.folders)
        tail = f"{folders}</ListBucketResult>"
        return [head.encode(), *written.of(found.stretches), tail.encode()]

    def _azure_page(self, query: Query) -> list[bytes]:
        found = self._found(query, "marker", "maxresults", 5_000)
        head = (
            '\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults '
            'ServiceEndpoint="https://account.blob.core.windows.net/" ContainerName="bucket">'
            "<MaxResults>5000</MaxResults><Blobs>"
        )
        folders = "".join(element("BlobPrefix", element("Name", folder)) for folder in found.folders)
        marker = "<NextMarker />" if found.more_from is None else element("NextMarker", found.more_from)
        tail = f"{folders}</Blobs>{marker}</EnumerationResults>"
        return [head.encode(), *self._azure.of(found.stretches), tail.encode()]

    def _google_page(self, query: Query) -> list[bytes]:
        found = self._found(query, "pageToken", "maxResults", 1_000)
        page: dict[str, Any] = {"kind": "storage#objects"}
        if found.more_from is not None:
            page["nextPageToken"] = str(found.more_from)
        if found.folders:
            page["prefixes"] = found.folders
        head = json.dumps(page)[:-1].encode()
        asked = re.search(r"\bitems\(([^)]*)\)", query.get("fields", ""))
        objects = [*self._google_of(frozenset(asked[1].split(",") if asked else ())).of(found.stretches)]
        if objects:
            head += b', "items": ['
            objects[-1] = objects[-1][:-1] + b"]"
        return [head, *objects, b"}"]

    def _google_of(self, fields: frozenset[str]) -> Written:
        if fields not in self._google:
            self._google[fields] = Written(self._tree, lambda place: google_object(place, fields))
        return self._google[fields]


def element(name: str, content: object) -> str:
    return f"<{name}>{content}</{name}>"


class Connection(asyncio.Protocol):
    """Answers one request after the other, each a while after it came."""

    def __init__(self, services: Services, latency_seconds: float) -> None:
        self._services = services
        self._latency_seconds = latency_seconds
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        head, end, rest = (self._received + data).partition(b"\r\n\r\n")
        if not end:
            self._received = head
            return
        self._received = rest
        url = urlsplit(head.split(b" ", 2)[1].decode())
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        answer = self._services.answer(url.path, query)
        asyncio.get_running_loop().call_later(self._latency_seconds, self._send, *answer)

    def _send(self, content_type: str, body: list[bytes]) -> None:
        if self._transport.is_closing():
            return
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {sum(map(len, body))}\r\n"
            f"Date: {formatdate(usegmt=True)}\r\nServer: list\r\nx-ms-version: 2026-10-06\r\n\r\n"
        )
        self._transport.writelines([head.encode(), *body])


async def serve(options: argparse.Namespace) -> None:
    services = Services(Tree(options.keys, options.folders), options.page_keys)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(services, options.latency_ms / 1_000), "127.0.0.1", options.port, backlog=512
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--folders", type=int, default=100)
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--page-keys", type=int, default=5_000)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))
