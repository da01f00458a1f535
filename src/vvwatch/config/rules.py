"""Checks between options, and against the machine, on settings with sound fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from vvwatch.config.alert_rules import check_alerts
from vvwatch.config.checked import Checked
from vvwatch.config.connector_rules import check_connectors, check_watching, is_below
from vvwatch.config.connectors import CloudConnector
from vvwatch.config.databases import database_file
from vvwatch.config.ids import prompt_id
from vvwatch.config.models import (
    Automation,
    AutomationExport,
    Settings,
)
from vvwatch.config.outgoing import Webhook
from vvwatch.config.processor_rules import check_processors
from vvwatch.config.prompts import BUILT_IN_PROMPTS, PromptTable, VideoLevel
from vvwatch.core.connections import affordable_connections
from vvwatch.core.durations import parse_duration
from vvwatch.core.exports import ExportOptions, check_options
from vvwatch.core.filesystems import COMFORTABLE_SPOOL_BYTES, Keeping, Mount, spool_room_bytes
from vvwatch.core.globs import HINT, regular_expression_in
from vvwatch.core.json_schemas import check_json_schema
from vvwatch.core.networks import PRIVATE, Reach
from vvwatch.errors import InvalidInput
from vvwatch.formats.registry import FORMATS
from vvwatch.mounts import mount_at
from vvwatch.options.fields import (
    disk_bytes,
    is_file,
    is_folder,
    is_loopback,
    most_open_files,
    split_listen,
)
from vvwatch.options.findings import Finding, Loc, did_you_mean, join_names
from vvwatch.options.secrets import is_readable_by_others

_HOUR_SECONDS: Final = 3_600.0
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_PROMPT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def all_findings(checked: Checked) -> Iterator[Finding]:
    """Yield all errors and warnings about how the settings fit together."""
    rules = (
        _check_names,
        _check_daemon,
        check_state,
        _check_roots,
        check_connectors,
        check_processors,
        _check_prompts,
        _check_automations,
        _check_one_each,
        check_watching,
        _check_webhooks,
        check_alerts,
    )
    return chain.from_iterable(rule(checked) for rule in rules)


def _check_names(checked: Checked) -> Iterator[Finding]:
    for section in ("processors", "connectors", "indexes", "prompts", "automations", "webhooks", "alerts"):
        for name in checked.names(section):
            if not (_PROMPT_NAME if section == "prompts" else _NAME).fullmatch(name):
                letters = "A-Z a-z" if section == "prompts" else "a-z"
                allowed = f"{letters} 0-9 _ -, at most 63, the first a letter or digit"
                yield Finding((section, name), f"{name!r} cannot be a name", allowed)
    yield from _check_prompt_names(checked)


def _check_prompt_names(checked: Checked) -> Iterator[Finding]:
    """Check that prompts have distinct ids; names are free and may be ids from elsewhere."""
    holders: dict[str, str] = {}
    built_in = {prompt_id(name) for name in BUILT_IN_PROMPTS}
    for name in checked.names("prompts"):
        identifier = prompt_id(name)
        if identifier in built_in:
            what = f"{name!r} is the name of a built-in prompt"
            yield Finding(("prompts", name), what, hint="choose another")
        elif identifier in holders:
            what = f"has the id {identifier}, which [prompts.{holders[identifier]}] has as well"
            yield Finding(("prompts", name), what, hint="choose another name")
        holders[identifier] = name


def _check_daemon(checked: Checked) -> Iterator[Finding]:
    settings = checked.settings
    yield from _check_tls(checked)
    yield from _check_connections(settings)
    if not is_loopback(split_listen(settings.listen)[0]) and settings.api.tls_certificate is None:
        hint = "API keys travel in clear text; set [api] tls_certificate, or listen on 127.0.0.1"
        yield Finding(("listen",), "other machines can reach this address", hint=hint, warning=True)
    if is_file(settings.state_dir):
        yield Finding(("state_dir",), f"{str(settings.state_dir)!r} is a file, not a folder")
    yield from _check_spool_room(settings)
    yield from _check_uploads(settings)
    if any(is_below(settings.state_dir, root) for root in settings.local.roots):
        what = "the state directory lies where connectors may read and write"
        yield Finding(("state_dir",), what, hint="move it out of local.roots", warning=True)


def _check_spool_room(settings: Settings) -> Iterator[Finding]:
    """Warn of a disk too small for cloud objects, which all pass through the spool."""
    if not any(isinstance(each, CloudConnector) for each in settings.connectors.values()):
        return
    whole_bytes = disk_bytes(settings.state_dir)
    largest = None if whole_bytes is None else spool_room_bytes(whole_bytes, settings.processing.spool_bytes)
    if largest is not None and largest < min(COMFORTABLE_SPOOL_BYTES, settings.processing.spool_bytes):
        what = f"its disk is small: no object of more than {largest:,} bytes can be processed"
        hint = "give state_dir a larger disk (in a container a volume, no tmpfs)"
        yield Finding(("state_dir",), what, hint=hint, warning=True)


def _check_uploads(settings: Settings) -> Iterator[Finding]:
    """Warn if the largest allowed file does not fit the room for uploads."""
    room, largest = settings.api.uploads_bytes, settings.api.max_upload_bytes
    if room < largest:
        what = f"all uploads together have {room:,} bytes, less than one file may have ({largest:,})"
        hint = "raise it, or lower max_upload_bytes"
        yield Finding(("api", "uploads_bytes"), what, hint=hint, warning=True)


def _check_connections(settings: Settings) -> Iterator[Finding]:
    """Warn if the limit of open files is too low for so many connections."""
    wanted, files = settings.api.max_connections, most_open_files()
    affordable = affordable_connections(wanted, files)
    if affordable < wanted:
        what = f"only {affordable:,} of {wanted:,} connections are taken: no more than {files:,} files may be open"
        hint = "raise the hard limit of open files (LimitNOFILE= of a unit, ulimit -Hn), or lower max_connections"
        yield Finding(("api", "max_connections"), what, hint=hint, warning=True)


def _check_tls(checked: Checked) -> Iterator[Finding]:
    files = {name: getattr(checked.settings.api, name) for name in ("tls_certificate", "tls_key")}
    for name, path in files.items():
        if checked.sound(("api", name)) and path is None and any(files.values()):
            yield Finding(("api",), f"{name} is missing", hint="TLS needs a certificate and its key")
        elif path is not None and not is_file(path):
            yield Finding(("api", name), f"there is no file {str(path)!r}")
    key = files["tls_key"]
    if key is not None and is_readable_by_others(key):
        what = f"every user of this machine can read {key}"
        yield Finding(("api", "tls_key"), what, hint=f"chmod o-r {key}", warning=True)


def _check_roots(checked: Checked) -> Iterator[Finding]:
    for position, root in enumerate(checked.settings.local.roots):
        loc = ("local", "roots", position)
        if is_file(root):
            yield Finding(loc, f"{str(root)!r} is a file, not a folder")
        elif not is_folder(root):
            hint = "it may be used as soon as it appears"
            yield Finding(loc, f"there is no folder {str(root)!r} yet", hint=hint, warning=True)


def _check_prompts(checked: Checked) -> Iterator[Finding]:
    for name, prompt in checked.settings.prompts.items():
        yield from _check_schema(checked, prompt, ("prompts", name))
        if prompt.video_level is not None:
            yield from _check_schema(checked, prompt.video_level, ("prompts", name, "video_level"))


def _check_schema(checked: Checked, table: PromptTable | VideoLevel, loc: Loc) -> Iterator[Finding]:
    key = "json_schema" if table.json_schema_file is None else "json_schema_file"
    if checked.sound((*loc, "json_schema")) and checked.sound((*loc, key)):
        try:
            check_json_schema(table.json_schema)
        except InvalidInput as error:
            yield Finding((*loc, key), error.message, hint=error.hint)


def _check_automations(checked: Checked) -> Iterator[Finding]:
    for name, automation in checked.settings.automations.items():
        loc = ("automations", name)
        yield from _check_reference(checked, (*loc, "index"), automation.index, "indexes")
        yield from _check_connector(checked, (*loc, "connector"), automation.connector, "import")
        if checked.sound((*loc, "pattern")) and (why := regular_expression_in(automation.pattern)):
            yield Finding((*loc, "pattern"), why, hint=HINT, warning=True)
        yield from _check_prompt(checked, (*loc, "prompt", "prompt_id"), automation.prompt.prompt_id)
        yield from _check_wait(checked, loc, automation)
        yield from _check_sizes(checked, loc, automation)
        yield from _check_budget(checked, loc, automation)
        if automation.export is not None:
            yield from _check_export(checked, loc, automation, automation.export)


def _check_export(
    checked: Checked, loc: Loc, automation: Automation, export: AutomationExport
) -> Iterator[Finding]:
    yield from _check_connector(checked, (*loc, "export", "connector"), export.connector, "export")
    if not all(checked.sound((*loc, "export", key)) for key in ("formats", "name")):
        return
    for key, options in (
        ("formats", replace(export.options, name=None)),
        ("name", ExportOptions(name=export.name)),
    ):
        try:
            check_options(options, FORMATS)
        except InvalidInput as error:
            yield Finding((*loc, "export", key), error.message, hint=error.hint)
    source = checked.settings.connectors.get(automation.connector)
    if export.sidecars and source is not None and "export" not in source.scopes:
        what = (
            f"sidecars are written to the connector {automation.connector!r}, which lacks the scope 'export'"
        )
        yield Finding(
            (*loc, "export", "sidecars"),
            what,
            hint=f'add "export" to the scopes of [connectors.{automation.connector}]',
        )


def _check_reference(checked: Checked, loc: Loc, name: str, section: str) -> Iterator[Finding]:
    """Require that `name` is a table of `section`."""
    names = checked.names(section)
    if checked.sound(loc) and name not in names:
        hint = did_you_mean(name, names) or f"declare [{section}.{name}]"
        yield Finding(loc, f"there is no [{section}.{name}]", join_names(names), hint)


def _check_connector(checked: Checked, loc: Loc, name: str, scope: str) -> Iterator[Finding]:
    yield from _check_reference(checked, loc, name, "connectors")
    connector = checked.settings.connectors.get(name)
    sound = checked.sound(loc) and checked.sound(("connectors", name, "scopes"))
    if sound and connector is not None and scope not in connector.scopes:
        hint = f'add "{scope}" to the scopes of [connectors.{name}]'
        yield Finding(loc, f"the connector {name!r} does not have the scope {scope!r}", hint=hint)


def _check_prompt(checked: Checked, loc: Loc, prompt: str) -> Iterator[Finding]:
    """Require a known prompt name; an id may belong to a prompt made over the API."""
    names = {*BUILT_IN_PROMPTS, *checked.names("prompts")}
    known = {prompt_id(name) for name in names}
    if not checked.sound(loc) or prompt_id(prompt) in known:
        return
    if not prompt.startswith("prompt_"):
        hint = did_you_mean(prompt, names) or f"declare [prompts.{prompt}], or give an id (prompt_…)"
        yield Finding(loc, f"there is no [prompts.{prompt}]", join_names(names), hint)
    elif meant := did_you_mean(prompt, known):
        yield Finding(loc, "is the id of no prompt of this file", join_names(known), meant, warning=True)


def _check_wait(checked: Checked, loc: Loc, automation: Automation) -> Iterator[Finding]:
    sound = checked.sound((*loc, "debounce")) and checked.sound((*loc, "max_wait"))
    if sound and automation.max_wait and parse_duration(automation.max_wait) < automation.quiet_seconds:
        what = "is shorter than debounce, so that no window would ever close by quiet"
        yield Finding((*loc, "max_wait"), what, f"{automation.debounce} or longer")


def _check_sizes(checked: Checked, loc: Loc, automation: Automation) -> Iterator[Finding]:
    sound = checked.sound((*loc, "min_size_bytes")) and checked.sound((*loc, "max_size_bytes"))
    least, most = automation.min_size_bytes, automation.max_size_bytes
    if sound and least is not None and most is not None and least > most:
        what = "is more than max_size_bytes, so that no object would be picked up"
        yield Finding((*loc, "min_size_bytes"), what, f"{most} or less")


def _check_budget(checked: Checked, loc: Loc, automation: Automation) -> Iterator[Finding]:
    """Check the request budget: even a location of one page costs one request per listing."""
    sound = checked.sound((*loc, "scan_interval")) and checked.sound((*loc, "max_list_calls_per_hour"))
    most = automation.max_list_calls_per_hour
    if sound and automation.scan_interval and most and automation.scan_seconds * most < _HOUR_SECONDS:
        what = f"{most} list calls an hour do not allow a listing every {automation.scan_interval}"
        hint = "`vvwatch plan` tells what they allow"
        yield Finding((*loc, "max_list_calls_per_hour"), what, hint=hint, warning=True)


def _check_one_each(checked: Checked) -> Iterator[Finding]:
    holders: dict[str, str] = {}
    for name, automation in checked.settings.automations.items():
        if automation.index in holders:
            what = f"the index {automation.index!r} already has the automation {holders[automation.index]!r}"
            hint = "an index has one import automation; declare another index"
            yield Finding(("automations", name, "index"), what, hint=hint)
        elif automation.index:
            holders[automation.index] = name


def _check_webhooks(checked: Checked) -> Iterator[Finding]:
    yield from _find_deprecated(checked)
    for name, hook in checked.settings.webhooks.hooks.items():
        if checked.sound(("webhooks", name, "url")):
            yield from _check_address(checked, ("webhooks", name, "url"), hook)
        yield from _check_secret(checked, ("webhooks", name), hook)
        for position, index in enumerate(hook.indexes or ()):
            yield from _check_reference(checked, ("webhooks", name, "indexes", position), index, "indexes")


def _check_secret(checked: Checked, loc: Loc, hook: Webhook) -> Iterator[Finding]:
    sound = checked.sound((*loc, "secret_file")) and checked.sound((*loc, "secret_env"))
    if sound and (hook.secret_file is None) == (hook.secret_env is None):
        what = "needs a secret" if hook.secret_file is None else "has both secret_file and secret_env"
        yield Finding(loc, what, "one of secret_file, secret_env")


def _check_address(checked: Checked, loc: Loc, hook: Webhook) -> Iterator[Finding]:
    parts = urlsplit(hook.url)
    if parts.scheme == "http" and not checked.settings.webhooks.allow_http:
        hint = "for tests, webhooks.allow_http = true permits http"
        yield Finding(loc, "is not encrypted", "https://…", hint)
    if not checked.sound(("webhooks", "allow_networks")):
        return
    reached = checked.settings.webhooks.policy.reach_of_host(parts.hostname or "")
    if reached is Reach.NEVER:
        what = "leads to a link-local, reserved or cloud metadata address"
        yield Finding(loc, what, "a public address", "no option permits it")
    elif reached is Reach.PRIVATE:
        hint = "name its network: webhooks.allow_networks"
        yield Finding(loc, "leads to a private address", "a public address", hint)


def _find_deprecated(checked: Checked) -> Iterator[Finding]:
    if checked.settings.webhooks.allow_private_addresses:
        networks = ", ".join(f'"{network}"' for network in PRIVATE)
        hint = f"name the networks that are meant, of allow_networks = [{networks}]"
        what = "allows every private network and will go"
        yield Finding(("webhooks", "allow_private_addresses"), what, hint=hint, warning=True)


_HINT: Final = (
    "name a folder of a local disk, or use PostgreSQL (database_url); "
    "where no second daemon can ever use it, allow_network_state_dir = true"
)


def check_state(checked: Checked) -> Iterator[Finding]:
    """Yield findings about the location of the database and the spool."""
    settings = checked.settings
    if not (checked.sound(("state_dir",)) and checked.sound(("database_url",))):
        return
    if not settings.replicated:
        file = database_file(settings.database_url, settings.state_dir)
        loc = ("state_dir",) if file.is_relative_to(settings.state_dir) else ("database_url",)
        yield from database_place(file, loc, allowed=settings.allow_network_state_dir)
        if loc == ("state_dir",):
            return
    mount = mount_at(settings.state_dir)
    if mount is not None and mount.is_remote:
        what = f"the spool lies on {mount.kind}: what is processed travels over the network twice"
        yield Finding(("state_dir",), what, hint="name a folder of a local disk", warning=True)


def database_place(file: Path, loc: tuple[str, ...], *, allowed: bool) -> Iterator[Finding]:
    """Return the finding about a database in this file."""
    mount = mount_at(file)
    if mount is None or mount.keeping is Keeping.SAFE:
        return
    refused = mount.keeping is Keeping.UNSAFE and not allowed
    yield Finding(loc, explain_filesystem(file.parent, mount), hint=_HINT, warning=not refused)


def explain_filesystem(folder: Path, mount: Mount) -> str:
    """Return why the folder on `mount` is no place for a database."""
    where = f"{str(folder)!r} lies on {mount.kind}"
    if mount.keeping is Keeping.UNSAFE:
        return f"{where}: over a network two daemons can use one SQLite database at once and break it"
    return f"{where}, which may not carry the locks and the shared memory that SQLite needs"
