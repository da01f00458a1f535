"""A certificate of the tests' own, with which the daemon answers by https on loopback.

    tls = certificate(tmp_path)
    with Daemon(tmp_path, extra=tls.options) as daemon:
        assert daemon.url.startswith("https://127.0.0.1:")

Clients trust it by `tls.context`, or by the environment variable SSL_CERT_FILE, set to `tls.authority`.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

HOSTS = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Tls:
    """PEM files: the certificate for `HOSTS`, its key, and the authority that has signed it."""

    certificate: Path
    key: Path
    authority: Path

    @property
    def options(self) -> str:
        """What the daemon's configuration says."""
        return f'\n[api]\ntls_certificate = "{self.certificate}"\ntls_key = "{self.key}"\n'

    @property
    def context(self) -> ssl.SSLContext:
        """A client's, which trusts that authority and no other."""
        return ssl.create_default_context(cafile=str(self.authority))


def certificate(folder: Path) -> Tls:
    """A certificate and its authority, made in `folder`."""
    authority = trustme.CA()
    made = authority.issue_cert(*HOSTS)
    tls = Tls(folder / "tls.crt", folder / "tls.key", folder / "authority.crt")
    tls.certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    made.private_key_pem.write_to_path(str(tls.key))
    authority.cert_pem.write_to_path(str(tls.authority))
    return tls
