"""`vvwatch db`: commands on the database, without a daemon or beside one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import anyio
import click

from vvwatch.cli.commands import Branch, Command, config_option, json_option, state_dir_option
from vvwatch.cli.databases import find_database, report_progress, url_option
from vvwatch.cli.db_secrets import reseal, reset_secrets
from vvwatch.cli.failures import FAILURE, USAGE, Failure
from vvwatch.cli.output import escape_controls, format_size, pluralize, print_json
from vvwatch.cli.tables import print_columns
from vvwatch.store.admin import invariants
from vvwatch.store.admin.invariants import Finding
from vvwatch.store.admin.moving import Moved, copy, require_whole
from vvwatch.store.admin.secret_keys import KEY_FILE
from vvwatch.store.db import migrations
from vvwatch.store.db.opening import Place

_KEY_NOTE: Final = (
    f"its secrets open only with the key they were sealed with: {KEY_FILE} in the state directory, "
    "or VVWATCH_SECRET_KEY"
)


@click.group(
    cls=Branch,
    examples=(
        ("vvwatch db check --json", "whether everything in it fits together"),
        ("vvwatch db backup /backup/vvwatch.db", "a copy, while the daemon runs"),
        (
            "vvwatch db copy --from sqlite:///vvwatch.db --to postgresql://vvwatch@db/vvwatch --node media-1",
            "move to PostgreSQL; the daemon is stopped",
        ),
    ),
)
def db() -> None:
    """Copy the database to another engine, back it up, check it, change its key. No daemon is needed."""


db.add_command(reset_secrets)
db.add_command(reseal)


@db.command(
    "copy",
    cls=Command,
    examples=(
        (
            "vvwatch db copy --from sqlite:///vvwatch.db --to postgresql://vvwatch@db/vvwatch --node media-1",
            "move to PostgreSQL; media-1 has the local folders",
        ),
        (
            "vvwatch db copy --from postgresql://vvwatch@db/vvwatch --to sqlite:///back.db",
            "and back; a relative file lies in the state directory",
        ),
    ),
)
@click.option("--from", "source", metavar="URL", required=True, help="The database that is copied.")
@click.option("--to", "target", metavar="URL", help="An empty one.  [as --database-url elsewhere]")
@click.option("--node", default="", metavar="NAME", help="The node that has the local folders.")
@config_option
@state_dir_option
@json_option
def copy_command(
    source: str, target: str | None, node: str, config: str | None, state: str | None, *, as_json: bool
) -> None:
    """Copy everything vvwatch knows into an empty database, and prove that both are equal.

    No daemon may run on either. After an interruption, run the same command again to continue; no daemon starts on
    an unfinished copy. PGPASSWORD or ~/.pgpass keep a password off the command line.
    """
    places = find_database(source, config, state), find_database(target, config, state)
    if places[0].name == places[1].name:
        raise Failure("source and target are the same", "name another database with --to", exit_code=USAGE)
    moved = anyio.run(copy, *places, node, report_progress())
    if as_json:
        print_json({"equal": True, "tables": [asdict(each) for each in moved]})
    else:
        _print_moved(moved, *places)


@db.command(
    cls=Command,
    examples=(("vvwatch db backup /backup/vvwatch.db", "as it is now, also while the daemon runs"),),
)
@click.argument("file", type=click.Path(path_type=Path))
@url_option
@config_option
@state_dir_option
@json_option
def backup(file: Path, url: str | None, config: str | None, state: str | None, *, as_json: bool) -> None:
    """Write a checked copy of the SQLite database to FILE, completely or not at all. The daemon may run.

    The copy is one file with mode 0600. To restore it, stop the daemon and copy it over the database.
    """
    place = find_database(url, config, state)
    if place.file is None:
        hint = f"pg_dump --format=custom --file={file} …, which restores with pg_restore"
        raise Failure(
            "a PostgreSQL database is backed up by its own tools", hint, where=place.name, exit_code=USAGE
        )
    if not place.file.exists():
        raise Failure("there is no database", "look at --database-url and --state-dir", where=place.name)
    from vvwatch.store.db.sqlite_upkeep import back_up  # noqa: PLC0415  # only what is asked for

    size_bytes = back_up(place.file, file)
    if as_json:
        print_json({"file": str(file), "size_bytes": size_bytes, "note": _KEY_NOTE})
    else:
        click.echo(f"{escape_controls(str(file))}: {format_size(size_bytes)}, whole and checked")
        click.echo(_KEY_NOTE, err=True)


@db.command(
    cls=Command,
    examples=(
        ("vvwatch db check", "the configured database"),
        ("vvwatch db check --database-url sqlite:////backup/vvwatch.db", "a backup"),
    ),
)
@url_option
@config_option
@state_dir_option
@json_option
@click.pass_context
def check(
    ctx: click.Context, url: str | None, config: str | None, state: str | None, *, as_json: bool
) -> None:
    """Check that nothing in the database is damaged, lost or duplicated. Changes nothing; a daemon may run.

    Exit code 1 if something is wrong; the output names the ids.
    """
    place = find_database(url, config, state)
    damage, found = anyio.run(_check_database, place)
    sound = not damage and not any(finding.count for finding in found)
    if as_json:
        print_json(_to_document(place, damage, found, sound=sound))
    else:
        _print_checked(place, damage, found, sound=sound)
    ctx.exit(0 if sound else FAILURE)


def _print_moved(moved: Sequence[Moved], source: Place, target: Place) -> None:
    rows = [(each.table, f"{each.rows:,}", f"{each.copied:,}", each.checksum) for each in moved]
    print_columns(rows, ("TABLE", "ROWS", "COPIED NOW", "CHECKSUM ON BOTH SIDES"))
    total = sum(each.rows for each in moved)
    equal = click.style("equal", fg="green")
    click.echo(
        f"{escape_controls(source.name)} and {escape_controls(target.name)} are {equal}: {pluralize(total, 'row')}"
    )
    click.echo(f"{_KEY_NOTE}; give it to every daemon on the new database", err=True)


async def _check_database(place: Place) -> tuple[list[str], list[Finding]]:
    async with place.database.visited() as found:
        migrations.require_latest(found, place.name)
        await place.database.read(require_whole)
        return await place.database.read(place.upkeep.damage), await place.database.read(invariants.findings)


def _to_document(place: Place, damage: list[str], found: list[Finding], *, sound: bool) -> dict[str, Any]:
    return {
        "database": place.name,
        "schema_version": migrations.LATEST,
        "sound": sound,
        "damage": damage,
        "invariants": [asdict(finding) for finding in found],
    }


def _print_checked(place: Place, damage: list[str], found: list[Finding], *, sound: bool) -> None:
    for line in damage:
        click.echo(f"{click.style('damaged:', fg='red')} {escape_controls(line)}")
    for finding in found:
        verdict = click.style("no ", fg="red") if finding.count else click.style("yes", fg="green")
        click.echo(f"{verdict}  {finding.promise}")
        if finding.count:
            more = f" and {finding.count - len(finding.ids)} more" if finding.count > len(finding.ids) else ""
            click.echo(f"     not so: {escape_controls(', '.join(finding.ids))}{more}")
    word = click.style("sound", fg="green") if sound else click.style("not sound", fg="red")
    click.echo(f"{escape_controls(place.name)}: {word} (schema version {migrations.LATEST})")
