"""docs/recipes.md is true: each file passes `vvwatch check`, each command exists, and the relay relays."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from tests.daemon_process import wait_until
from tests.emulators.s3_server import listening
from tests.fault_proxy import LOOPBACK, free_port
from tests.providers.gcs.gcs_places import service_account
from tests.receiver import Receiver
from vvwatch.cli.root import vvwatch as cli
from vvwatch.core.deliveries import sign_body
from vvwatch.core.events import canonical_json

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCKS: Final[list[str]] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
REST, RECIPES = BLOCKS[0], BLOCKS[1:]
LOCAL = '[connectors.incoming]\ntype = "local"\npath = "/srv/media/incoming"\n'
KINDS = {"s3": "sqs", "gcs": "subscriptions", "azure": "queue.core"}
SECRET = "whsec_of-a-test-0123456789"


def complete(recipe: str) -> str:
    """A recipe with the rest that it needs: the automation, and for events their connector."""
    if "[automations." in recipe:
        return REST.partition("[automations.")[0] + LOCAL + recipe
    if ".events]" in recipe:
        [kind] = [kind for kind, mark in KINDS.items() if mark in recipe]
        return REST + next(each for each in RECIPES if f'type = "{kind}"' in each) + recipe
    return REST + (recipe if "[connectors.incoming]" in recipe else LOCAL + recipe)


def content_for(text: str) -> str:
    """What the secret file of a recipe holds."""
    if 'type = "gcs"' in text:
        return service_account()
    return (
        "https://hooks.slack.com/services/T/B/x\n"
        if "[alerts." in text
        else "a-secret-of-a-test-0123456789\n"
    )


def checked(folder: Path, text: str) -> str:
    """What `vvwatch check` prints about a file, whose folders and secrets exist; it must call the file good."""
    for name in ("incoming", "results"):
        (folder / "media" / name).mkdir(parents=True)
    secret = folder / "secret"
    secret.write_text(content_for(text))
    secret.chmod(0o600)
    text = re.sub(r'"/etc/vvwatch/[\w.-]+"', f'"{secret}"', text).replace("/srv/media", str(folder / "media"))
    path = folder / "vvwatch.toml"
    path.write_text(text)
    ended = CliRunner().invoke(
        cli, ["check", "--config", str(path)], env={"VVWATCH_STATE_DIR": str(folder / "s")}
    )
    assert ended.exit_code == 0, ended.output
    return ended.output


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda text: f"{text.splitlines()[0]} {text.splitlines()[1]}")
def test_each_recipe_is_good(tmp_path: Path, recipe: str) -> None:
    assert "good (1 automation, 2 connectors" in checked(tmp_path, complete(recipe))


def test_there_is_a_recipe_for_each_place() -> None:
    kinds = re.findall(r'(?m)^type = "(\w+)"', "\n".join(RECIPES))
    assert set(kinds) == {"s3", "gcs", "azure", "local", "slack"}
    assert len([text for text in RECIPES if ".events]" in text]) == len(KINDS)


def test_the_files_that_it_names_exist() -> None:
    named = re.findall(r"`((?:config|systemd)/[\w./-]+)`", PAGE)
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def post(port: int, body: bytes, signature: str) -> int:
    request = urllib.request.Request(f"http://{LOOPBACK}:{port}/", body, {"X-Webhook-Signature": signature})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_relay_posts_what_is_signed(tmp_path: Path) -> None:
    [text] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "relay.py").write_text(text)
    port = free_port()
    body = canonical_json({"event": "export.ready", "data": {"index_id": "idx_dailies"}})
    with Receiver() as slack:
        relay = subprocess.Popen(
            [sys.executable, tmp_path / "relay.py"],
            env={**os.environ, "VVWATCH_SECRET": SECRET, "SLACK_URL": slack.url, "PORT": str(port)},
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: listening((LOOPBACK, port)), "the relay listens")
            assert post(port, body, sign_body("another", body)) == 403
            assert post(port, body, sign_body(SECRET, body)) == 204
        finally:
            relay.kill()
            relay.wait()
    assert [json.loads(each.body) for each in slack.received] == [{"text": "export.ready: idx_dailies"}]
