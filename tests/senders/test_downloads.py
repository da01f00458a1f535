"""Fetching files of other hosts: where from, how much, how long, and what is told when it goes wrong."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from tests.file_host import Answer, FileHost, cut, endless, has, onward, refused
from tests.senders.test_http import no_descriptors
from vvwatch.core.networks import PRIVATE, AddressPolicy
from vvwatch.errors import AttachmentRefused, AttachmentUnavailable, MachineShortage
from vvwatch.senders.downloads import Downloads
from vvwatch.senders.guard import Guard

pytestmark = pytest.mark.anyio

SECRET = "signature=pl4nted"
MOST = 1 << 20
PATIENT_SECONDS = 30


@pytest.fixture
def host() -> Iterator[FileHost]:
    with FileHost() as host:
        yield host


@pytest.fixture
async def downloads() -> AsyncIterator[Downloads]:
    downloads = Downloads(
        Guard(AddressPolicy(allow_http=True, allow_networks=PRIVATE)), MOST, PATIENT_SECONDS
    )
    yield downloads
    await downloads.aclose()


@pytest.fixture
async def hasty() -> AsyncIterator[Downloads]:
    """Downloads for tests of the deadline itself: on a busy machine nothing at all may come in time."""
    downloads = Downloads(Guard(AddressPolicy(allow_http=True, allow_networks=PRIVATE)), MOST, 0.3)
    yield downloads
    await downloads.aclose()


async def fetched(downloads: Downloads, url: str) -> tuple[str, bytes]:
    async with downloads.file(url) as download:
        return download.content_type, b"".join([piece async for piece in download.pieces])


async def test_a_file_is_fetched_with_its_type(host: FileHost, downloads: Downloads) -> None:
    host.answers["/a"] = has(b"x" * 300_000, "video/mp4")
    assert await fetched(downloads, host.url(f"/a?{SECRET}")) == ("video/mp4", b"x" * 300_000)
    assert host.asked == [f"/a?{SECRET}"]


async def test_redirects_are_followed_some_steps(host: FileHost, downloads: Downloads) -> None:
    host.answers |= {"/a": has(b"abc"), "/1": onward("/a"), "/2": onward(host.url("/1"), 307)}
    assert (await fetched(downloads, host.url("/2")))[1] == b"abc"
    host.answers["/round"] = onward("/round")
    host.answers |= {"/raw": onward("/W\xc3\xb6rter"), "/W%C3%B6rter": has(b"abc")}
    assert (await fetched(downloads, host.url("/raw")))[1] == b"abc"
    with pytest.raises(AttachmentRefused, match="without an end"):
        await fetched(downloads, host.url("/round"))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refused(403), "answered 403"),
        (refused(404), "answered 404"),
        (onward("http://:80/"), "no valid host"),
        (onward("http://[::1"), "no address"),
        (onward("file:///etc/passwd"), "not https"),
        (has(b"x" * (MOST + 1)), "more than 1,048,576 bytes"),
        (endless, "more than 1,048,576 bytes"),
        (has(b"abc", Content_Encoding="gzip"), "compressed"),
    ],
)
async def test_what_cannot_be_had_is_told(
    host: FileHost, downloads: Downloads, answer: Answer, told: str
) -> None:
    host.answers["/a"] = answer
    with pytest.raises(AttachmentRefused, match=told) as refusal:
        await fetched(downloads, host.url(f"/a?{SECRET}"))
    assert not refusal.value.transient
    assert SECRET not in f"{refusal.value.message} {refusal.value.hint}"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_what_may_be_had_later_is_transient(host: FileHost, downloads: Downloads, status: int) -> None:
    host.answers["/a"] = refused(status)
    with pytest.raises(AttachmentUnavailable, match=str(status)):
        await fetched(downloads, host.url("/a"))


async def test_a_host_that_hangs_or_breaks_off_is_transient(
    host: FileHost, downloads: Downloads, hasty: Downloads
) -> None:
    host.answers |= {"/hangs": host.hangs, "/cut": cut}
    for path, asker in (("/hangs", hasty), ("/cut", downloads)):
        with pytest.raises(AttachmentUnavailable, match=r"127\.0\.0\.1") as failure:
            await fetched(asker, host.url(f"{path}?{SECRET}"))
        assert SECRET not in f"{failure.value.message} {failure.value.__cause__}"
    with pytest.raises(AttachmentUnavailable, match="failed"):
        await fetched(downloads, "http://127.0.0.1:1/a")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_without_descriptors_the_host_is_not_to_blame(
    host: FileHost, downloads: Downloads, name: str
) -> None:
    host.answers["/a"] = has(b"abc")
    url = host.url("/a").replace("127.0.0.1", name)
    with pytest.raises(MachineShortage, match="no file descriptor left"), no_descriptors():
        await fetched(downloads, url)
    assert (await fetched(downloads, url))[1] == b"abc"


async def test_a_host_that_dawdles_over_its_answer_is_not_waited_for(
    host: FileHost, hasty: Downloads
) -> None:
    """Something comes all the time, but nothing of the file."""
    host.answers["/a"] = host.dawdles
    with anyio.fail_after(30), pytest.raises(AttachmentUnavailable, match=r"did not answer within 0\.3 s"):
        await fetched(hasty, host.url("/a"))


@pytest.mark.parametrize(
    ("number", "later"), [(socket.EAI_AGAIN, True), (socket.EAI_NONAME, False)], ids=["away", "unknown"]
)
async def test_a_name_that_cannot_be_looked_up_now_is_looked_up_again(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch, number: int, later: bool
) -> None:
    async def asked(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "no")

    monkeypatch.setattr("vvwatch.senders.guard.anyio.getaddrinfo", asked)
    with pytest.raises(AttachmentRefused, match=r"host\.example.* does not resolve") as failure:
        await fetched(downloads, f"http://host.example/a?{SECRET}")
    assert failure.value.transient == later


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "0x7f000001", "169.254.169.254"])
async def test_a_private_address_is_not_asked(host: FileHost, name: str) -> None:
    guarded = Downloads(Guard(AddressPolicy(allow_http=True)), MOST, PATIENT_SECONDS)
    host.answers["/a"] = has(b"abc")
    port = host.url("").rpartition(":")[2]
    with pytest.raises(AttachmentRefused):
        await fetched(guarded, f"http://{name}:{port}/a")
    assert host.asked == []
    await guarded.aclose()


async def test_a_redirect_to_a_private_address_is_not_followed(
    host: FileHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first host is allowed, whatever it is; where it sends us is judged anew."""
    guarded = Downloads(Guard(AddressPolicy(allow_http=True)), MOST, PATIENT_SECONDS)
    asked = Guard.addresses

    async def first_is_public(guard: Guard, name: str, port: int) -> list[str]:
        return ["127.0.0.1"] if name == "public.example" else await asked(guard, name, port)

    monkeypatch.setattr(Guard, "addresses", first_is_public)
    host.answers |= {"/a": onward(host.url("/inner")), "/inner": has(b"secrets")}
    port = host.url("").rpartition(":")[2]
    with pytest.raises(AttachmentRefused, match="private address"):
        await fetched(guarded, f"http://public.example:{port}/a")
    assert host.asked == ["/a"]
    await guarded.aclose()


async def test_plain_http_needs_to_be_allowed(host: FileHost) -> None:
    guarded = Downloads(Guard(), MOST, PATIENT_SECONDS)
    with pytest.raises(AttachmentRefused, match="not https"):
        await fetched(guarded, host.url("/a"))
    assert host.asked == []
    await guarded.aclose()
