"""The documented set-up at work: three daemons on config/replicas.toml, replaced one by one while files arrive."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Self

import pytest

from tests import samples
from tests.daemon_process import Daemon, wait_until
from tests.deployments import REPLICAS
from tests.postgres_server import PostgresServer

SHORTER = {"settle": ("10s", "1s"), "scan_interval": ("30s", "1s"), "debounce": ("2m", "1s")}
SECRET_KEY = "c2l4dGVlbi1ieXRlcy1hbmQtc2l4dGVlbi1ieXRlcyE="
EVERY_SECONDS = 1.0


@pytest.fixture
def media(tmp_path: Path) -> Path:
    for name in ("incoming", "results"):
        (tmp_path / "media" / name).mkdir(parents=True)
    return tmp_path / "media"


@pytest.fixture
def config(tmp_path: Path, media: Path) -> Path:
    """The very file that is deployed, but for the place of the media and the waits."""
    text = REPLICAS.read_text().replace('"/media', f'"{media}')
    for key, (deployed, here) in SHORTER.items():
        assert f'{key} = "{deployed}"' in text
        text = text.replace(f'{key} = "{deployed}"', f'{key} = "{here}"')
    path = tmp_path / REPLICAS.name
    path.write_text(text)
    return path


@pytest.fixture
def environ(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[dict[str, str]]:
    """The secrets in files, as containers get them."""
    secrets = {"DATABASE_URL": postgres_server.create_database("rolling"), "SECRET_KEY": SECRET_KEY}
    variables = {"VVWATCH_LISTEN": "127.0.0.1:0"}
    for name, secret in secrets.items():
        file = tmp_path / name
        file.write_text(secret + "\n")
        file.chmod(0o400)
        variables[f"VVWATCH_{name}_FILE"] = str(file)
    yield variables
    postgres_server.drop_database("rolling")


class Arrivals:
    """Pictures that arrive in `folder`, one after the other, while the `with` block runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.names: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _write(self) -> None:
        for number in count():
            name = f"{number:03}.png"
            samples.image(self._folder / name)
            self.names.append(name)
            if self._ended.wait(EVERY_SECONDS):
                return


def exported(media: Path) -> Counter[str]:
    """How often each file's results were delivered."""
    documents = [json.loads(path.read_text()) for path in (media / "results").rglob("*.json")]
    media_of = [document["media"] for document in documents if "media" in document]
    return Counter(item["video"]["key"] for found in media_of for item in found)


@pytest.mark.timeout(240)  # half a dozen daemons start, which a busy machine is slow to do
def test_a_rolling_update_while_files_arrive_loses_nothing(
    tmp_path: Path, media: Path, config: Path, environ: dict[str, str]
) -> None:
    with ExitStack() as stack:

        def replica(name: str) -> Daemon:
            daemon = Daemon(tmp_path / name)
            daemon.config = config
            daemon.environ = environ | {"VVWATCH_STATE_DIR": str(daemon.state)}
            stack.callback(daemon.kill)
            return daemon.spawn()

        old = [replica(f"old-{number}") for number in range(3)]
        for each in old:
            each.await_ready()
        with Arrivals(media / "incoming") as arrivals:
            wait_until(lambda: bool(exported(media)), "a first file in an export", 90)
            for number, leaving in enumerate(old):
                replica(f"new-{number}").await_ready()
                assert leaving.stop(seconds=75) == 0
        everything = dict.fromkeys(arrivals.names, 1)
        wait_until(lambda: exported(media) == everything, "every file in an export, once", 90)
