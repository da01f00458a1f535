"""Check connectors: folders below the allowed roots, one complete set of credentials, and what automations watch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vvwatch.config.checked import Checked
from vvwatch.config.connectors import CloudConnector, LocalConnector
from vvwatch.config.models import Automation
from vvwatch.core.exports import check_subpath
from vvwatch.options.fields import is_file, is_folder
from vvwatch.options.findings import Finding, Loc
from vvwatch.options.secrets import secret_keys
from vvwatch.providers.registry import addresses_of
from vvwatch.providers.settings import Events, Way


def check_connectors(checked: Checked) -> Iterator[Finding]:
    """Yield the faults of each connector."""
    for kind, usual in checked.settings.storage.items():
        yield from _check_certificate_file(("storage", kind, "ca_file"), getattr(usual, "ca_file", None))
    yield from _check_certificate_file(("webhooks", "ca_file"), checked.settings.webhooks.ca_file)
    for name, connector in checked.settings.connectors.items():
        loc = ("connectors", name)
        if isinstance(connector, LocalConnector):
            yield from _check_local(checked, loc, connector)
        elif isinstance(connector, CloudConnector):
            yield from _check_cloud(checked, loc, connector)
    yield from _check_queues(checked)


def _check_local(checked: Checked, loc: Loc, connector: LocalConnector) -> Iterator[Finding]:
    yield from _check_ownership(checked, loc, connector)
    if checked.sound((*loc, "path")) and _is_reached(checked, connector):
        yield from _check_folder(checked, (*loc, "path"), connector.path)


def _check_ownership(checked: Checked, loc: Loc, connector: LocalConnector) -> Iterator[Finding]:
    """Check whether a folder belongs to every node or to one; exactly one of them where there may be several."""
    if not (checked.sound((*loc, "shared")) and checked.sound((*loc, "node"))):
        return
    if connector.shared and connector.node is not None:
        hint = "keep node if only that node has the folder, else shared"
        yield Finding((*loc, "node"), "stands beside shared = true", hint=hint)
    elif checked.settings.replicated and not connector.shared and connector.node is None:
        what = "several nodes may share this database, and nothing says which of them have the folder"
        allowed = f'node = "NAME" (this node is "{checked.settings.node.name}"), shared = true'
        hint = "node: only that node has it; shared: each node mounts it at this path"
        yield Finding(loc, what, allowed, hint)


def _is_reached(checked: Checked, connector: LocalConnector) -> bool:
    """Return whether this node can examine the connector's folder."""
    settings = checked.settings
    if connector.shared or connector.node == settings.node.name:
        return True
    return checked.sound(("database_url",)) and not settings.replicated


def _check_folder(checked: Checked, loc: Loc, path: Path) -> Iterator[Finding]:
    roots = checked.settings.local.roots
    if checked.sound(("local", "roots")) and not any(is_below(path, root) for root in roots):
        allowed = "below " + ", ".join(map(str, roots)) if roots else ""
        hint = "" if roots else f'write [local] roots = ["{path}"]'
        yield Finding(loc, f"{str(path)!r} is not below one of local.roots", allowed, hint)
    elif is_file(path):
        yield Finding(loc, f"{str(path)!r} is a file, not a folder")
    elif not is_folder(path):
        hint = "it is watched as soon as it appears"
        yield Finding(loc, f"there is no folder {str(path)!r} yet", hint=hint, warning=True)


def _check_cloud(checked: Checked, loc: Loc, connector: CloudConnector) -> Iterator[Finding]:
    yield from _check_certificate_file((*loc, "ca_file"), connector.ca_file)
    keys = ("credentials", "endpoint_url", *(key for way in connector.ways for key in way.keys))
    if all(checked.sound((*loc, key)) for key in keys):
        yield from _check_credentials(checked, loc, connector)
        for fault in connector.find_faults(_endpoint_of(checked, connector)):
            yield fault._replace(loc=(*loc, *fault.loc))


def _check_queues(checked: Checked) -> Iterator[Finding]:
    """Find connectors that share a queue: one with exclusive use would delete the other's messages."""
    first: dict[str, tuple[str, Events]] = {}
    for name, connector in checked.settings.connectors.items():
        loc = ("connectors", name, "events")
        events = connector.events if isinstance(connector, CloudConnector) else None
        if events is None or not checked.sound(loc):
            continue
        other, others = first.setdefault(events.queue, (name, events))
        if other != name and "exclusive" in (events.mode, others.mode):
            hint = 'give each a queue of its own, or both mode = "shared"'
            yield Finding((*loc, "queue"), f"is the queue of the connector {other!r} as well", hint=hint)


def _endpoint_of(checked: Checked, connector: CloudConnector) -> str:
    """Return the endpoint of a connector, or its provider's usual one; empty for neither."""
    usual = checked.settings.storage.of(connector.type)
    return connector.endpoint_url or (usual and usual.endpoint_url) or ""


def _check_certificate_file(loc: Loc, file: Path | None) -> Iterator[Finding]:
    if file is not None and not is_file(file):
        yield Finding(loc, f"there is no file {str(file)!r}")


def _check_credentials(checked: Checked, loc: Loc, connector: CloudConnector) -> Iterator[Finding]:
    """Require one complete set of credentials."""
    found = {way: keys for way in connector.ways if (keys := connector.list_given(way.keys))}
    spelt = [_describe_way(connector, way) for way in connector.ways]
    allowed = "; ".join([*spelt, 'credentials = "ambient"'])
    if len(found) + bool(connector.credentials) > 1:
        keys = [*(key for each in found.values() for key in each), *connector.list_given(["credentials"])]
        what = f"has more than one way of credentials: {', '.join(keys)}"
        yield Finding(loc, what, allowed, "keep one of them")
    elif found:
        [way] = found
        yield from _check_complete(loc, connector, way)
    elif not connector.credentials and not connector.needs_no_credentials(_endpoint_of(checked, connector)):
        hint = "ambient is the identity of this machine: an instance's role, a workload's identity"
        yield Finding(loc, "has no credentials", allowed, hint)


def _check_complete(loc: Loc, connector: CloudConnector, way: Way) -> Iterator[Finding]:
    hint = f"credentials are {_describe_way(connector, way)}"
    for name in way.plain:
        if not connector.list_given([name]):
            yield Finding((*loc, name), "is required", hint=hint)
    for secret in way.all_secrets:
        found = connector.list_given(secret_keys(secret))
        if len(found) > 1:
            yield Finding(loc, f"has both {' and '.join(found)}", hint="keep one of them")
        elif not found and secret in way.secrets:
            yield Finding(loc, f"has no {secret}", _describe_choice(connector, secret), hint)


def _describe_way(connector: CloudConnector, way: Way) -> str:
    """Return a set of credential keys for people."""
    return ", ".join([*way.plain, *(_describe_choice(connector, secret) for secret in way.secrets)])


def _describe_choice(connector: CloudConnector, secret: str) -> str:
    return " or ".join(key for key in secret_keys(secret) if key in type(connector).model_fields)


def check_watching(checked: Checked) -> Iterator[Finding]:
    """Yield faults between automations and connectors: impossible prefixes, exports into watched folders."""
    for name, automation in checked.settings.automations.items():
        yield from _check_prefix(checked, ("automations", name, "prefix"), automation)
    yield from _check_echoes(checked)


def _check_prefix(checked: Checked, loc: Loc, automation: Automation) -> Iterator[Finding]:
    connector = checked.settings.connectors.get(automation.connector)
    if isinstance(connector, LocalConnector) and automation.prefix.startswith("/"):
        what = f"no key of a local folder begins like {automation.prefix!r}"
        yield Finding(loc, what, "a path below the connector's", "leave out the leading /")


def _check_echoes(checked: Checked) -> Iterator[Finding]:
    """Warn of exports into a watched location: recognized and never imported, but confusing."""
    automations = checked.settings.automations
    for name, automation in automations.items():
        target = _export_folder(checked, automation)
        for other, watcher in automations.items():
            source = _base_of_keys(checked, watcher.connector)
            if target and source and target.startswith(source + watcher.prefix):
                what = f"exports go to {target.rstrip('/')!r}, which the automation {other!r} watches"
                hint = "they are recognised and never imported; a folder beside it is clearer"
                yield Finding(("automations", name, "export"), what, hint=hint, warning=True)


def _export_folder(checked: Checked, automation: Automation) -> str:
    """Return the folder of exports with a trailing slash; empty if unknown here."""
    export = automation.export
    base = _base_of_keys(checked, export.connector) if export else ""
    if export is None or not base:
        return ""
    above = checked.settings.connectors[export.connector].export_base_path
    return base + "".join(
        f"{part}/" for part in (check_subpath(above), check_subpath(export.subpath)) if part
    )


def _base_of_keys(checked: Checked, name: str) -> str:
    """Return the address before the keys of a connector; empty if this node cannot reach it."""
    connector = checked.settings.connectors.get(name)
    if isinstance(connector, LocalConnector):
        return f"{connector.path}/" if _is_reached(checked, connector) else ""
    if isinstance(connector, CloudConnector) and checked.sound(("connectors", name)):
        return addresses_of(connector.type, connector.location)[0].base
    return ""


def is_below(path: Path, root: Path) -> bool:
    """Return whether `path` is `root` or inside it, symbolic links resolved."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
