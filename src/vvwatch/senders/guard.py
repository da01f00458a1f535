"""Check the URLs of webhooks and attachments: spelling, scheme, and the addresses that a name resolves to."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

import anyio
import httpcore2

from vvwatch.core.networks import PUBLIC_ONLY, AddressPolicy, Reach
from vvwatch.errors import DeliveryRefused

_PLAIN: Final = "/?%:@!$&'()*+,;=~[]"  # not escaped in paths and queries


@dataclass(slots=True)
class Guard:
    """Allows what `policy` allows; a reload may replace it. `table` is its table in the configuration."""

    policy: AddressPolicy = PUBLIC_ONLY
    table: str = "webhooks"

    def parse_url(self, url: str) -> tuple[httpcore2.URL, str]:
        """Return the URL and its Host header. Raises DeliveryRefused for an invalid or forbidden one."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and self.policy.allow_http):
            hint = f"use https, or allow http in [{self.table}]"
            raise DeliveryRefused("the address is not https", hint)
        host, port = _split_destination(parts)
        path = quote(parts.path or "/", safe=_PLAIN) + (
            f"?{quote(parts.query, safe=_PLAIN)}" if parts.query else ""
        )
        name = f"[{host}]" if ":" in host else host
        target = httpcore2.URL(scheme=parts.scheme, host=host, port=port, target=path)
        return target, name if port is None else f"{name}:{port}"

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of `host`, the best first. Raises DeliveryRefused unless all of them are allowed.

        The error names none of them: they may be secrets of the daemon's network.
        """
        try:
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            cause = _find_cause(error)
            raise DeliveryRefused(f"the host {host!r} does not resolve", "check the url") from cause
        addresses = [str(entry[4][0]) for entry in found]
        reached = {self.policy.reach(address) for address in addresses}
        if Reach.NEVER in reached:
            what = f"the host {host!r} resolves to a link-local, reserved or cloud metadata address"
            raise DeliveryRefused(what, "no option allows these: use another address")
        if not addresses or Reach.PRIVATE in reached:
            raise DeliveryRefused(
                f"the host {host!r} resolves to a private address",
                f"use a public address, or name its network in allow_networks of [{self.table}]",
            )
        return addresses


def _find_cause(error: Exception) -> Exception:
    """Return the lack of descriptors behind a failed lookup, else `error`: resolvers report it as this or that."""
    try:
        socket.socket().close()
    except OSError as lack:
        return lack
    return error


def _split_destination(parts: SplitResult) -> tuple[str, int | None]:
    """Return the host as headers and certificates spell it, and the port if given. Raises DeliveryRefused."""
    try:
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:
        host, port = "", None
    if not host or port == 0:
        raise DeliveryRefused("the address has no valid host and port", "check the url")
    return host, port
