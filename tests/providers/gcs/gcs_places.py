"""Google's bucket as tests want it: the adapter over any address, and small servers that answer as Google does."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fault_proxy import LOOPBACK
from vvwatch.providers.gcs.storage import GcsLocation, GcsStorage
from vvwatch.providers.spool import Spool

BUCKET = "media"
LISTING = f"/storage/v1/b/{BUCKET}/o"
UPLOADS = f"/upload/storage/v1/b/{BUCKET}/o"


@asynccontextmanager
async def adapter(
    folder: Path,
    endpoint_url: str,
    bucket: str = BUCKET,
    *,
    credentials: str | None = None,
    ca_file: str = "",
    proxy: str = "",
    user_project: str = "",
) -> AsyncIterator[GcsStorage]:
    """The adapter for a bucket at `endpoint_url`, closed at the end; its spool is in `folder`."""
    location = GcsLocation(bucket, endpoint_url, ca_file, proxy, user_project)
    storage = GcsStorage(location, credentials, Spool(folder, 1 << 30))
    try:
        yield storage
    finally:
        await storage.aclose()


@asynccontextmanager
async def serving(app: web.Application, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The address of a server that runs `app` for the life of the block."""
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, 0, ssl_context=tls)
        await site.start()
        host, port = runner.addresses[0]
        yield f"{'https' if tls else 'http'}://{host}:{port}"
    finally:
        await runner.cleanup()


def described(key: str, generation: int, size_bytes: int) -> dict[str, str]:
    """An object as the service describes it, of the fields that are asked for."""
    return {
        "name": key,
        "generation": str(generation),
        "size": str(size_bytes),
        "updated": "2026-11-22T10:57:52.258Z",
    }


@cache
def private_key() -> rsa.RSAPrivateKey:
    """The key of the service account of all tests."""
    return rsa.generate_private_key(65537, 2048)


def service_account(**changes: str | None) -> str:
    """The JSON of a key file as the console gives it; what is changed to None is left out."""
    pem = private_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    content = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "0123456789abcdef",
        "private_key": pem.decode(),
        "client_email": "watch@project.iam.gserviceaccount.com",
        "client_id": "1234567890",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "universe_domain": "googleapis.com",
    }
    return json.dumps({key: value for key, value in {**content, **changes}.items() if value is not None})
