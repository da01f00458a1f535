"""Both official clients over the one daemon. They never ask twice: a server that needs that has failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.daemon_process import ADMIN_KEY
from tests.sdk.twins import CLIENTS, Twin
from tests.sdk.world import World


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """Where the asynchronous client lives."""
    with start_blocking_portal("asyncio") as portal:
        yield portal


@pytest.fixture(scope="session")
def both(world: World, portal: BlockingPortal) -> Iterator[dict[str, Twin]]:
    """The clients of an administrator."""
    made = {
        kind: Twin(
            client(api_key=ADMIN_KEY, base_url=world.base_url, max_retries=0),
            portal if kind == "async" else None,
        )
        for kind, client in CLIENTS.items()
    }
    yield made
    for twin in made.values():
        twin.close()


@pytest.fixture(params=CLIENTS)
def sdk(request: pytest.FixtureRequest, both: dict[str, Twin]) -> Twin:
    """Every test that asks for it is driven by each client."""
    return both[request.param]
