"""`vvwatch db reseal` and `vvwatch db reset-secrets`: change the key that seals secrets, or give up a lost one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import anyio
import click

from vvwatch.cli.commands import Command, config_option, json_option, state_dir_option
from vvwatch.cli.databases import find_database, report_progress, url_option
from vvwatch.cli.failures import USAGE, Failure
from vvwatch.cli.local_daemon import find_state_dir
from vvwatch.cli.output import escape_controls, print_json
from vvwatch.cli.tables import print_columns
from vvwatch.core.audit import CLI, Origin
from vvwatch.store.admin import audit, nodes, resealing
from vvwatch.store.admin.resealing import Resealed
from vvwatch.store.admin.secret_keys import KeySource, find_keys
from vvwatch.store.catalog import settings
from vvwatch.store.db import sealing
from vvwatch.store.db.database import Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.db.opening import Place

_ROTATION: Final = (
    "on several nodes: add a new key as another line to the secret key of every node, then run vvwatch db reseal with "
    "it as the first line, then remove the old line everywhere"
)


@click.command(
    "reset-secrets",
    cls=Command,
    examples=(("vvwatch db reset-secrets --yes", "secret.key is lost for good; the daemon is stopped"),),
)
@click.option("--yes", is_flag=True, help="Forget what the lost key has sealed.")
@url_option
@config_option
@state_dir_option
@json_option
def reset_secrets(
    url: str | None, config: str | None, state: str | None, *, yes: bool, as_json: bool
) -> None:
    """Delete every secret sealed with a lost key, and continue with the present key.

    Webhooks created over the API are disabled until their secret is rotated, and connectors created over the API
    need new credentials. Declared resources get their secrets back at the next start.
    """
    if not yes:
        hint = "restore secret.key, or say --yes when it is lost for good"
        raise Failure("what the lost key has sealed is forgotten for good", hint, exit_code=USAGE)
    place = find_database(url, config, state)
    box = find_keys(find_state_dir(state, config, os.environ), os.environ).box()
    found = anyio.run(_reset_secrets, place, box)
    if as_json:
        print_json(asdict(found))
        return
    for webhook_id in found.webhooks:
        click.echo(
            f"{escape_controls(webhook_id)} is disabled: rotate its secret, and give the receiver the new one"
        )
    for connector_id in found.connectors:
        click.echo(
            f"{escape_controls(connector_id)} has no credentials: PATCH it, unless the configuration declares them"
        )
    click.echo("the present key seals all secrets from now on")


async def _reset_secrets(place: Place, box: SecretBox) -> settings.SecretsReset:
    async with place.database.opened():
        return await place.database.write(_reset_in, box)


def _reset_in(tx: Tx, box: SecretBox) -> settings.SecretsReset:
    done = settings.reset_secrets(tx, box)
    audit.record(tx, Origin(CLI), "secrets.reset", "", asdict(done))
    return done


@click.command(
    "reseal",
    cls=Command,
    examples=(
        ("vvwatch db reseal --new-key", "change secret.key; the daemon is stopped (SQLite)"),
        (
            "vvwatch db reseal --keep-old",
            "seal everything with the first of several keys, which you have placed",
        ),
    ),
)
@click.option("--new-key", is_flag=True, help="Make a new key, and put it first into secret.key.")
@click.option("--keep-old", is_flag=True, help="Leave the old keys in secret.key.")
@url_option
@config_option
@state_dir_option
@json_option
def reseal(
    url: str | None, config: str | None, state: str | None, *, new_key: bool, keep_old: bool, as_json: bool
) -> None:
    """Seal every secret with the newest key, the first line of secret.key, and remove the old keys.

    After an interruption, run the same command again: nothing is lost. On SQLite stop the daemon first; on
    PostgreSQL it may run. Older backups open only with the old key: keep a copy of it with them.
    """
    place = find_database(url, config, state)
    source = find_keys(find_state_dir(state, config, os.environ), os.environ, make=False)
    if new_key and not source.is_own:
        where = str(source.path) if source.path else "VVWATCH_SECRET_KEY"
        hint = "put a new key in front of it there, and run the command without --new-key"
        raise Failure("the secret key is not in the state directory", hint, where=where, exit_code=USAGE)
    keys, done = anyio.run(_reseal, place, source, new_key)
    if not keep_old and keys.is_own:
        keys.keep_newest()
    _print_resealed(done, keys, keep_old=keep_old, as_json=as_json)


async def _reseal(place: Place, source: KeySource, new_key: bool) -> tuple[KeySource, list[Resealed]]:
    async with place.database.opened():
        keys = await _add_new_key(place, source) if new_key else source
        return keys, await resealing.reseal(place.database, keys.box(), report_progress("secret"))


async def _add_new_key(place: Place, source: KeySource) -> KeySource:
    """Return the keys with an unused one in front: that of an interrupted run, or a new one."""
    present = await place.database.read(nodes.list_nodes) if place.file is None else []
    if len(present) > 1:
        names = ", ".join(node.name for node in present)
        raise Failure(f"a new key would be on this machine alone, and there are {names}", _ROTATION)
    mark = await place.database.read(sealing.read_mark)
    is_unused = mark is not None and not source.box().is_newest(mark)
    return source if is_unused else source.add_newest()


def _print_resealed(done: Sequence[Resealed], keys: KeySource, *, keep_old: bool, as_json: bool) -> None:
    removed = keys.is_own and not keep_old
    if as_json:
        print_json({"tables": [asdict(each) for each in done], "old_keys_removed": removed})
        return
    rows = [(each.table, str(each.secrets), str(each.resealed)) for each in done]
    print_columns(rows, ("TABLE", "SECRETS", "RESEALED NOW"))
    where = escape_controls(str(keys.path) if keys.path else "VVWATCH_SECRET_KEY")
    click.echo(f"the newest key of {where} seals all secrets; backups from before need the old one")
    if not removed:
        click.echo(
            f"nothing in the database needs the old keys any more: remove them from {where} everywhere"
        )
