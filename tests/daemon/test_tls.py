"""The daemon by https, with a certificate of its own."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import urllib.request
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.daemon_process import ADMIN_KEY, Daemon
from tests.tls import Tls, certificate
from vvwatch.config import load
from vvwatch.daemon import ServeOptions, serve
from vvwatch.errors import VvwatchError


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return certificate(tmp_path)


def asked(url: str, context: ssl.SSLContext) -> bytes:
    request = urllib.request.Request(url, headers={"X-API-Key": ADMIN_KEY})
    with urllib.request.urlopen(request, timeout=20, context=context) as answer:
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        body: bytes = answer.read()
        return body


def test_the_daemon_answers_by_https_alone(tmp_path: Path, tls: Tls) -> None:
    with Daemon(tmp_path / "daemon", extra=tls.options) as daemon:
        assert daemon.url.startswith("https://127.0.0.1:")
        assert json.loads(asked(f"{daemon.url}/api/v2/exports", tls.context)) == []
        with pytest.raises((OSError, ConnectionError)):
            urllib.request.urlopen(daemon.url.replace("https", "http"), timeout=20)
        own = ("-m", "vvwatch", "status", "--state-dir", str(daemon.state), "--json")
        environ = {**os.environ, "VVWATCH_API_KEY": ADMIN_KEY}
        told = subprocess.run([sys.executable, *own], env=environ, capture_output=True, text=True, check=True)
        assert urlsplit(daemon.url).netloc in told.stdout


@pytest.mark.anyio
async def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path, tls: Tls) -> None:
    tls.certificate.write_text("not a certificate")
    file = tmp_path / "vvwatch.toml"
    file.write_text(f'listen = "127.0.0.1:0"\nstate_dir = "{tmp_path}/state"\n{tls.options}')
    options = ServeOptions({}, once=True, announce=lambda _: None, log_stream=StringIO())
    with pytest.raises(VvwatchError, match="cannot use the certificate") as caught:
        await serve(load(file, {"HOME": str(tmp_path)}), options)
    assert "tls_key" in caught.value.hint
