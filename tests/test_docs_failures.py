"""docs/failures.md is true: each row's words are printed by a daemon in that trouble."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from anyio.from_thread import start_blocking_portal
from click.testing import CliRunner

from tests import samples
from tests.crash.small_disk import small_disk
from tests.daemon_process import ADMIN_KEY, Daemon, wait_until
from tests.emulators.moto import make_user
from tests.emulators.s3_server import S3Server, make_bucket, raw_client
from tests.fault_proxy import free_port
from tests.model_server import ModelServer
from tests.troubles import WrongClock, bucket, folder, tls_receiver
from vvwatch.cli.root import vvwatch as cli

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
ROWS = re.findall(r"(?m)^\| `(.+?)`(?: \(a warning\))? \| (.+?) \| (.+?) \|$", PAGE)
SYMPTOMS: Final = [symptom for symptom, _, _ in ROWS]
LATE: Final = set(
    re.findall(
        r"(?m)^\| `(.+?)`(?: \(a warning\))? \|",
        PAGE.split("## The daemon does not start")[1].split("\n## ")[0],
    )
)
"""What only a daemon says that does not start."""
ELSEWHERE: Final = {
    symptom for symptom in SYMPTOMS if symptom.startswith(("this machine", "sent no heartbeat"))
}
"""What daemons of their own say: on a full disk, and of a node that was killed."""
PATIENCE = 150.0
READ: Final = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
HOOKS = """
[webhooks.refused]
url = "http://127.0.0.1:{closed}/"
secret_file = "{base}/secret"
events = ["import_job.partial_completed", "import_job.completed"]
[webhooks.untrusted]
url = "https://localhost:{tls}/"
secret_file = "{base}/secret"
events = ["import_job.partial_completed", "import_job.completed"]
"""
MODELS = """
[prompts.scene]
prompt_text = "Say what is to be seen."
json_schema = {{ type = "object", properties = {{ place = {{ type = "string" }} }} }}
[processors.gpt]
type = "openai"
base_url = "{paid}"
model = "stub-vision"
api_key_file = "{base}/gpt.key"
[processors.dear]
type = "openai"
base_url = "{free}"
model = "stub-vision"
[processors.dear.prices."*"]
usd_per_call = 1.0
[processors.dear.budget]
per_day_usd = 0.5
"""


def pattern_of(symptom: str) -> re.Pattern[str]:
    """What a row says, with anything on the line where it has an ellipsis."""
    return re.compile(".*?".join(re.escape(part.strip()) for part in symptom.split("…")))


class Trouble:
    """A daemon in many kinds of trouble, and what it and its commands print."""

    def __init__(self, base: Path, extra: str) -> None:
        self.daemon = Daemon(base, extra=extra)
        self.base = base
        self.environ = {**os.environ, "VVWATCH_API_KEY": ADMIN_KEY}
        self.said: list[str] = []

    def ask(self, *words: str, key: str = ADMIN_KEY, url: str = "") -> None:
        """Keep what a command prints about the daemon."""
        environ = {"VVWATCH_API_KEY": key, "COLUMNS": "400"}
        self.said.append(
            CliRunner().invoke(cli, [*words, "--url", url or self.daemon.url], env=environ).output
        )

    def run(self, *words: str, **environ: str) -> None:
        """Keep what a program of its own prints, such as a daemon that does not start."""
        ended = subprocess.run(
            [sys.executable, "-m", "vvwatch", *words],
            env={**self.environ, "VVWATCH_ADMIN_KEY": ADMIN_KEY, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ended.returncode
        self.said.append(ended.stdout + ended.stderr)

    def lacks(self) -> set[str]:
        """The symptoms that nothing has printed yet."""
        text = "\n".join(self.said)
        return {symptom for symptom in SYMPTOMS if not pattern_of(symptom).search(text)}


def fill_folders(daemon: Daemon) -> None:
    base = daemon.base
    whole = samples.video(base / "whole.mp4", seconds=2).read_bytes()
    (daemon.incoming / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (daemon.incoming / "notes.txt").write_text("hello")
    first = samples.image(base / "first.png")
    for name in ("patterns", "model", "dear", "old", "own"):
        shutil.copy(first, base / name / "a.png")
    for number in range(12):
        (base / "mass" / f"{number}.png").write_bytes(first.read_bytes() + bytes(number))
    with (base / "holes" / "h.mp4").open("wb") as hollow:
        hollow.truncate(10_000_000)


def is_settled(daemon: Daemon) -> bool:
    """Whether what is to be removed later is imported, and an export is there."""
    imported = {event["automation"] for event in daemon.events("import.finished")}
    return "auto_mass" in imported and any((daemon.base / "own").glob("*.manifest.json"))


def ask_all(trouble: Trouble) -> None:
    """What an operator asks: status, doctor, and why files are not imported."""
    base = trouble.base
    trouble.ask("status")
    trouble.ask("doctor")
    places = (
        "patterns/a.png",
        "holes/h.mp4",
        "old/a.png",
        "still/a.png",
        "incoming/notes.txt",
        "incoming/cut.mp4",
    )
    own = next((base / "own").glob("*.manifest.json"), base / "own" / "none")
    for place in [*(str(base / name) for name in places), str(own), "s3://cold/a.mp4", "/nowhere/x"]:
        trouble.ask("explain", place)


def break_more(trouble: Trouble) -> None:
    """Pause, delete and remove what worked."""
    trouble.ask("pause", "idx_still")
    trouble.ask("pause", "idx_own", "--exports")
    shutil.copy(trouble.base / "first.png", trouble.base / "still" / "a.png")
    for path in (trouble.base / "mass").glob("*.png"):
        path.unlink()
    shutil.rmtree(trouble.base / "vanished")


def ask_wrongly(trouble: Trouble) -> None:
    """Commands with the wrong address or key, and a request by a foreign name."""
    trouble.ask("status", url=f"http://127.0.0.1:{free_port()}")
    trouble.ask("status", key="sk_live_" + "0" * 48)
    request = urllib.request.Request(f"{trouble.daemon.url}/api/v2/status", headers={"Host": "media.example"})
    try:
        urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        with error:
            trouble.said.append(error.read().decode())


def start_wrongly(trouble: Trouble) -> None:
    """Daemons that do not start: beside another one, and with what is missing or wrong."""
    daemon, config = trouble.daemon, str(trouble.daemon.config)
    trouble.run("run", "--config", config)
    port = daemon.url.rsplit(":", 1)[1]
    other = {"VVWATCH_STATE_DIR": str(trouble.base / "other"), "VVWATCH_LISTEN": f"127.0.0.1:{port}"}
    trouble.run("run", "--config", config, **other)
    daemon.stop()
    (daemon.state / "secret.key").write_text("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n")
    trouble.run("run", "--config", config)
    with closing(sqlite3.connect(daemon.state / "vvwatch.db")) as database, database:
        database.execute("insert into schema_versions values (9999, 0)")
    trouble.run("run", "--config", config)
    wrong = trouble.base / "wrong.toml"
    wrong.write_text(
        'debonce = "1s"\n[webhooks.a]\nurl = "https://10.1.2.3/"\nsecret_file = "absent"\nevents = ["export.ready"]\n'
    )
    trouble.run("check", "--config", str(wrong))


def use_up_a_disk(base: Path) -> str:
    """What a daemon says of a file whose working folder has no room; the database has some."""
    with small_disk(1, files=4) as disk, Daemon(base) as daemon:
        spool = daemon.state / "spool"
        spool.rename(daemon.state / "away")
        spool.symlink_to(disk)
        for number in range(4):
            with suppress(OSError):
                (disk / str(number)).touch()
        samples.image(daemon.incoming / "a.png")
        wait_until(lambda: bool(find_attention(daemon, "machine")), "it waits", PATIENCE)
        return str(find_attention(daemon, "machine"))


def lose_a_node(base: Path, url: str) -> str:
    """What a node says of another one that was killed."""
    kept, lost = (
        Daemon(base / node, database_url=url, node=node, heartbeat="1s", shared=base / "shared")
        for node in "ab"
    )
    with kept:
        with lost:
            wait_until(lambda: len(kept.get("/status")["nodes"]) == 2, "both work", PATIENCE)
            lost.kill()
        wait_until(lambda: bool(find_attention(kept, "node")), "it is missed", PATIENCE)
        return str(find_attention(kept, "node"))


def find_attention(daemon: Daemon, kind: str) -> list[Any]:
    return [each for each in daemon.get("/status")["attention"] if each["kind"] == kind]


@pytest.fixture(scope="module")
def lacks(
    tmp_path_factory: pytest.TempPathFactory,
    moto: S3Server,
    moto_iam: S3Server,
    request: pytest.FixtureRequest,
) -> Iterator[set[str]]:
    """The symptoms that were not printed although all troubles were provoked."""
    base = tmp_path_factory.mktemp("troubles") / "d"
    base.mkdir()
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())

        async def freeze() -> None:
            async with raw_client(moto) as client:
                await client.put_object(Bucket="cold", Key="a.mp4", Body=b"x", StorageClass="GLACIER")

        for name, server in (("denied", moto_iam), ("forged", moto_iam), ("cold", moto), ("late", moto)):
            portal.call(make_bucket, server, name)
        portal.call(freeze)
        reader = portal.call(make_user, moto_iam, "reader", READ)
        forged = S3Server(moto_iam.endpoint_url, moto_iam.access_key_id, "wrong")
        late = stack.enter_context(WrongClock(moto.endpoint_url, 1000))
        urls = {
            "closed": free_port(),
            "tls": stack.enter_context(tls_receiver()),
            "paid": stack.enter_context(ModelServer(key="right")).url,
            "free": stack.enter_context(ModelServer()).url,
        }
        (base / "gpt.key").write_text("wrong")
        (base / "gpt.key").chmod(0o600)
        prompt = 'prompt = {{ prompt_id = "scene", processing_model = "{}" }}'
        extra = "".join(
            (
                bucket("nowhere", moto, base / "1"),
                bucket("denied", reader, base / "2"),
                bucket("forged", forged, base / "3"),
                bucket("cold", moto, base / "4"),
                f'[connectors.cold.events]\nqueue = "{moto.endpoint_url}/123456789012/none"\n',
                bucket("late", moto, base / "6", late.url),
                bucket("away", moto, base / "5", f"http://127.0.0.1:{free_port()}"),
                folder("patterns", base, 'pattern = "*.mov"'),
                folder("old", base, "process_existing = false"),
                folder("model", base, prompt.format("gpt")),
                folder("dear", base, prompt.format("dear")),
                folder("own", base, export=True),
                *(folder(name, base) for name in ("mass", "holes", "still", "vanished")),
                (HOOKS + MODELS).format(base=base, **urls),
            )
        )
        trouble = Trouble(base, extra)
        fill_folders(trouble.daemon)
        with trouble.daemon:
            wait_until(lambda: is_settled(trouble.daemon), "all is imported and exported", PATIENCE)
            ask_all(trouble)
            break_more(trouble)
            ask_wrongly(trouble)
            deadline = time.monotonic() + PATIENCE
            while trouble.lacks() - LATE - ELSEWHERE and time.monotonic() < deadline:
                ask_all(trouble)
            start_wrongly(trouble)
        trouble.said.append(use_up_a_disk(base / "full"))
        server = request.getfixturevalue("postgres_server")
        trouble.said.append(lose_a_node(base / "nodes", server.create_database("troubles")))
        server.drop_database("troubles")
        yield trouble.lacks()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_a_daemon_in_that_trouble_says_so(symptom: str, lacks: set[str]) -> None:
    assert symptom not in lacks


def test_there_is_a_row_for_what_users_meet() -> None:
    assert len(SYMPTOMS) == len(set(SYMPTOMS))
    assert len(SYMPTOMS) > 30
    assert PAGE.count("\n| ") - len(ROWS) == PAGE.count("\n## ") - 0
