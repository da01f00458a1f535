"""Load what the configuration keeps in other files and variables: JSON Schemas and secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vvwatch.config.connectors import CloudConnector
from vvwatch.config.databases import has_password
from vvwatch.config.models import Settings
from vvwatch.core.processors import SPEECH_ENDPOINT
from vvwatch.options.findings import Finding, Loc
from vvwatch.options.secrets import (
    Secret,
    Why,
    check_secret,
    is_readable_by_others,
    read_secret,
    secret_keys,
)
from vvwatch.options.tables import Table

Report = Callable[[Finding], None]

_ADMIN_KEY: Final = re.compile(r"sk_live_[0-9a-f]{48}")
_SHORTEST_SECRET: Final = 16
_LONGEST_SCHEMA_FILE: Final = 1 << 20


def inline_schemas(document: dict[str, Any], folder: Path, report: Report) -> None:
    """Replace each `json_schema_file` (relative to `folder`) by its content in `json_schema`."""
    for loc, table in _schema_tables(document):
        name = table.get("json_schema_file")
        if not isinstance(name, str):
            continue
        if "json_schema" in table:
            what = "stands beside json_schema"
            report(Finding((*loc, "json_schema_file"), what, hint="keep one of the two"))
            continue
        table["json_schema"] = {"type": "object"}
        try:
            table["json_schema"] = _read_json(folder / name)
        except (OSError, ValueError, RecursionError) as error:
            report(Finding((*loc, "json_schema_file"), f"cannot be used: {_explain_error(error)}"))


@dataclass(frozen=True)
class SecretReader:
    """Reads the secrets that tables name, files relative to `folder`, and reports unusable ones."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    report: Report

    def webhooks(self, settings: Settings) -> dict[str, Secret]:
        """Return the signing secret of each webhook that has a usable one, by name."""
        found = {
            name: self._secret(("webhooks", name), hook, "secret", _check_length)
            for name, hook in settings.webhooks.hooks.items()
        }
        return {name: secret for name, secret in found.items() if secret is not None}

    def alerts(self, settings: Settings) -> dict[str, Secret]:
        """Return the URL or the password of each receiver of alerts that has one, by name."""
        found = {
            name: self._secret(
                ("alerts", name), each, "password" if each.type == "email" else "url", check_secret
            )
            for name, each in settings.alerts.receivers.items()
        }
        return {name: secret for name, secret in found.items() if secret is not None}

    def alert_signing(self, settings: Settings) -> dict[str, Secret]:
        """Return the signing secret of each receiver of alerts that has one, by name."""
        found = {
            name: self._secret(("alerts", name), each, "secret", _check_length)
            for name, each in settings.alerts.receivers.items()
            if each.type == "webhook"
        }
        return {name: secret for name, secret in found.items() if secret is not None}

    def connectors(self, settings: Settings) -> dict[str, Secret]:
        """Return the credentials of each connector that has usable ones, by name, as JSON text."""
        found = {
            name: self._credentials(("connectors", name), connector)
            for name, connector in settings.connectors.items()
            if isinstance(connector, CloudConnector)
        }
        return {name: Secret(text) for name, text in found.items() if text is not None}

    def processors(self, settings: Settings) -> dict[str, Secret]:
        """Return the API key of each processor that has a usable one, by name, and that of the speech endpoint."""
        found = {
            name: self._secret(("processors", name), table, "api_key", check_secret)
            for name, table in settings.processors.items()
        }
        endpoint = settings.transcription.endpoint
        if endpoint is not None:
            place = ("transcription", "endpoint")
            found[SPEECH_ENDPOINT] = self._secret(place, endpoint, "api_key", check_secret)
        return {name: secret for name, secret in found.items() if secret is not None}

    def _credentials(self, loc: Loc, connector: CloudConnector) -> str | None:
        """Return all parts of the one set of credentials; None if the rules object."""
        ways = [way for way in connector.ways if connector.list_given(way.keys)]
        if len(ways) != 1 or connector.credentials:
            return None
        [way] = ways
        parts = {name: getattr(connector, name) for name in way.plain}
        for name in way.all_secrets:
            secret = self._secret(loc, connector, name, way.why)
            parts[name] = None if secret is None else secret.reveal()
        if not all(parts[name] for name in (*way.plain, *way.secrets)):
            return None
        whole: str | None = parts[way.secrets[0]] if way.whole else None
        return whole or json.dumps({name: text for name, text in parts.items() if text})

    def _secret(self, loc: Loc, table: Table, name: str, unusable: Callable[[str], Why]) -> Secret | None:
        """Return the secret of exactly one key of the table; None for neither, both, or an unusable one."""
        keys = table.list_given(secret_keys(name))
        secret = self._read((*loc, keys[0]), str(getattr(table, keys[0]))) if len(keys) == 1 else None
        why = None if secret is None else unusable(secret.reveal())
        if why is not None:
            self.report(Finding((*loc, keys[0]), *why))
            return None
        return secret

    def _read(self, loc: Loc, value: str) -> Secret | None:
        if str(loc[-1]).endswith("_file"):
            return _from_file(loc, self.folder / value, self.report)
        if text := self.environ.get(value):
            return Secret(text)
        self.report(Finding(loc, f"the variable {value} is not set"))
        return None


def _check_length(text: str) -> Why:
    short = len(text) < _SHORTEST_SECRET
    return ("holds too short a secret", f"{_SHORTEST_SECRET} characters or more") if short else None


def read_admin_key(environ: Mapping[str, str], report: Report) -> Secret | None:
    """Return the key in VVWATCH_ADMIN_KEY or in the file VVWATCH_ADMIN_KEY_FILE; None without either."""
    name, secret = read_secret_variable("VVWATCH_ADMIN_KEY", environ, report)
    if secret is not None and not _ADMIN_KEY.fullmatch(secret.reveal()):
        hint = 'echo "sk_live_$(openssl rand -hex 24)" makes one'
        report(Finding((name,), "does not hold an API key", "sk_live_ and 48 digits 0-9 a-f", hint))
    return secret


def read_secret_variable(name: str, environ: Mapping[str, str], report: Report) -> tuple[str, Secret | None]:
    """Return the variable that is set, `name` or `<name>_FILE`, and its secret.

    The secret is None without either, or if it is unusable, which is reported.
    """
    text, file = environ.get(name), environ.get(f"{name}_FILE")
    if text and file:
        report(Finding((name,), f"{name}_FILE is set as well", hint="keep one"))
        return name, None
    if file:
        return f"{name}_FILE", _from_file((f"{name}_FILE",), Path(file), report)
    return name, Secret(text) if text else None


def warn_of_visible_password(document: Mapping[str, Any], path: Path, report: Report) -> None:
    """Report a password in the database's address if everybody can read the file at `path`."""
    url = document.get("database_url")
    if isinstance(url, str) and has_password(url) and is_readable_by_others(path):
        what = "every user of this machine can read the password in it"
        hint = f"chmod o-r {path}, or keep the address in a file that VVWATCH_DATABASE_URL_FILE names"
        report(Finding(("database_url",), what, hint=hint, warning=True))


def _schema_tables(document: dict[str, Any]) -> Iterator[tuple[Loc, dict[str, Any]]]:
    prompts = document.get("prompts")
    for name, prompt in prompts.items() if isinstance(prompts, dict) else ():
        if isinstance(prompt, dict):
            yield ("prompts", name), prompt
            if isinstance(video_level := prompt.get("video_level"), dict):
                yield ("prompts", name, "video_level"), video_level


def _read_json(path: Path) -> Any:
    with path.open("rb") as file:
        content = file.read(_LONGEST_SCHEMA_FILE + 1)
    if len(content) > _LONGEST_SCHEMA_FILE:
        raise ValueError(f"it has more than {_LONGEST_SCHEMA_FILE:,} bytes")
    return json.loads(content)


def _from_file(loc: Loc, path: Path, report: Report) -> Secret | None:
    try:
        secret = read_secret(path)
    except (OSError, ValueError) as error:
        report(Finding(loc, f"cannot be read: {_explain_error(error)}"))
        return None
    if is_readable_by_others(path):
        what = f"every user of this machine can read {path}"
        report(Finding(loc, what, hint=f"chmod o-r {path}", warning=True))
    return secret


def _explain_error(error: Exception) -> str:
    """Return why a file is unusable, without its content."""
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}"
    return "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"it is not valid: {error}"
