"""Heartbeats between nodes, and reports of nodes that are lost."""

from __future__ import annotations

from vvwatch.api.http.wire import to_iso
from vvwatch.daemon.wiring import Components
from vvwatch.store.admin import nodes
from vvwatch.store.admin.nodes import Life


async def send_heartbeat(components: Components, life: Life) -> None:
    """Send a heartbeat; report an earlier loss of this node, and other nodes that are lost now."""
    now = components.clock.now()
    seen_at = await components.database.write(nodes.record_life, life)
    if seen_at is not None:
        silent = round(now - seen_at, 1)
        components.telemetry.emit(
            "node.returned", node=life.name, seen_at=to_iso(seen_at), silent_seconds=silent
        )
    for node in await components.database.write(nodes.claim_lost):
        components.telemetry.emit(
            "node.lost",
            node=node.name,
            address=node.address,
            seen_at=to_iso(node.seen_at),
            silent_seconds=round(now - node.seen_at, 1),
            held=dict(node.held),
            waiting=list(node.waiting),
        )
