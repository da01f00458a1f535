"""What the configuration keeps in files and variables of its own: JSON Schemas and secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from vvwatch.config.databases import has_password
from vvwatch.config.findings import Finding
from vvwatch.config.lines import Loc
from vvwatch.config.models import Settings, Webhook
from vvwatch.config.secrets import Secret, read_secret, readable_by_others

Report = Callable[[Finding], None]

_ADMIN_KEY: Final = re.compile(r"sk_live_[0-9a-f]{48}")
_SHORTEST_SECRET: Final = 16
_LONGEST_SCHEMA_FILE: Final = 1 << 20


def inline_schemas(document: dict[str, Any], folder: Path, report: Report) -> None:
    """Put the content of each `json_schema_file` (relative to `folder`) where `json_schema` would stand."""
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
            table["json_schema"] = _json(folder / name)
        except (OSError, ValueError, RecursionError) as error:
            report(Finding((*loc, "json_schema_file"), f"cannot be used: {_reason(error)}"))


def webhook_secrets(
    settings: Settings, folder: Path, environ: Mapping[str, str], report: Report
) -> dict[str, Secret]:
    """The signing secret of each declared webhook that has a usable one, by name."""
    secrets: dict[str, Secret] = {}
    for name, hook in settings.webhooks.hooks.items():
        loc = ("webhooks", name)
        secret = _webhook_secret(loc, hook, folder, environ, report)
        if secret is not None and len(secret.reveal()) < _SHORTEST_SECRET:
            key = "secret_env" if hook.secret_file is None else "secret_file"
            report(Finding((*loc, key), "holds too short a secret", f"{_SHORTEST_SECRET} characters or more"))
        elif secret is not None:
            secrets[name] = secret
    return secrets


def admin_key(environ: Mapping[str, str], report: Report) -> Secret | None:
    """The key that VVWATCH_ADMIN_KEY or the file VVWATCH_ADMIN_KEY_FILE holds; None without either."""
    name, secret = secret_variable("VVWATCH_ADMIN_KEY", environ, report)
    if secret is not None and not _ADMIN_KEY.fullmatch(secret.reveal()):
        hint = 'echo "sk_live_$(openssl rand -hex 24)" makes one'
        report(Finding((name,), "does not hold an API key", "sk_live_ and 48 digits 0-9 a-f", hint))
    return secret


def secret_variable(name: str, environ: Mapping[str, str], report: Report) -> tuple[str, Secret | None]:
    """What the variable `name` holds, or the file that `<name>_FILE` names, with the one of the two that is set.

    The secret is None without either, and where it was reported why it cannot be used.
    """
    text, file = environ.get(name), environ.get(f"{name}_FILE")
    if text and file:
        report(Finding((name,), f"{name}_FILE is set as well", hint="keep one"))
        return name, None
    if file:
        return f"{name}_FILE", _from_file((f"{name}_FILE",), Path(file), report)
    return name, Secret(text) if text else None


def warn_of_shown_password(document: Mapping[str, Any], path: Path, report: Report) -> None:
    """Report a password in the database's address where everybody can read the file at `path` it was read from."""
    url = document.get("database_url")
    if isinstance(url, str) and has_password(url) and readable_by_others(path):
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


def _json(path: Path) -> Any:
    with path.open("rb") as file:
        return json.loads(file.read(_LONGEST_SCHEMA_FILE))


def _webhook_secret(
    loc: Loc, hook: Webhook, folder: Path, environ: Mapping[str, str], report: Report
) -> Secret | None:
    if (hook.secret_file is None) == (hook.secret_env is None):
        return None
    if hook.secret_file is not None:
        return _from_file((*loc, "secret_file"), folder / hook.secret_file, report)
    if text := environ.get(str(hook.secret_env)):
        return Secret(text)
    report(Finding((*loc, "secret_env"), f"the variable {hook.secret_env} is not set"))
    return None


def _from_file(loc: Loc, path: Path, report: Report) -> Secret | None:
    try:
        secret = read_secret(path)
    except (OSError, ValueError) as error:
        report(Finding(loc, f"cannot be read: {_reason(error)}"))
        return None
    if readable_by_others(path):
        what = f"every user of this machine can read {path}"
        report(Finding(loc, what, hint=f"chmod o-r {path}", warning=True))
    return secret


def _reason(error: Exception) -> str:
    """Why a file cannot be used, without its content."""
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}"
    return "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"it is not valid: {error}"
