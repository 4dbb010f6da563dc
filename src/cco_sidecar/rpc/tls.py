"""TLS of both ports: the certificate, whose files are read again when they change, and who must present one."""

from __future__ import annotations

import logging
import ssl
import stat
import time
from pathlib import Path

from cco_sidecar.core import certificates
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.hosts import is_loopback
from cco_sidecar.core.settings import Settings

log = logging.getLogger(__name__)

# How often the files are looked at, at most.
_LOOK_SECONDS = 1.0
_Seen = tuple[tuple[str, int, int, int], ...]


class Tls:
    """Contexts for the connections of one port. ``protocol`` is what ALPN offers (RFC 7301): `http/1.1` or `h2`."""

    def __init__(self, cert: Path, key: Path, client_ca: Path | None, protocol: str) -> None:
        """Raises SettingsError if a file cannot be used."""
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._protocol = protocol
        self._seen = self._look()
        self._context = self._load()
        self._looked_at = time.monotonic()

    @classmethod
    def of(cls, settings: Settings, protocol: str) -> Tls | None:
        """Returns the TLS of a port; None if no certificate is configured. Raises SettingsError."""
        if settings.tls_cert is None:
            for name, value in (("tls_key", settings.tls_key), ("tls_client_ca", settings.tls_client_ca)):
                if value is not None:
                    raise SettingsError(f"server.{name} needs server.tls_cert, the certificate of this server")
            if settings.require_tls and not is_loopback(settings.host):
                raise SettingsError(
                    f"server.require_tls is set, and {settings.host} is reachable from other machines; set "
                    "server.tls_cert (--tls-cert), or listen on 127.0.0.1 behind a TLS proxy"
                )
            return None
        return cls(settings.tls_cert, settings.tls_key or settings.tls_cert, settings.tls_client_ca, protocol)

    def context(self) -> ssl.SSLContext:
        """Returns the context for a new connection. If changed files cannot be used, the former stay in use."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._reload()
        return self._context

    def _reload(self) -> None:
        try:
            seen = self._look()
            if seen == self._seen:
                return
            self._context = self._load()
        except SettingsError as problem:
            log.error("the former TLS certificate stays in use: %s", problem)
            return
        self._seen = seen
        log.info("TLS certificate reloaded", extra={"file": str(self._cert)})

    def _look(self) -> _Seen:
        files = [path for path in (self._cert, self._key, self._client_ca) if path is not None]
        try:
            return tuple(_state_of(path) for path in files)
        except OSError as problem:
            raise SettingsError(f"cannot read {problem.filename}: {problem.strerror}") from problem

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([self._protocol])
        try:
            certificates.load(context, self._cert, self._key)
        except SettingsError as problem:
            raise SettingsError(f"server.tls_cert and server.tls_key: {problem}") from problem
        if self._client_ca is not None:
            try:
                context.load_verify_locations(cafile=self._client_ca)
            except OSError as problem:
                raise SettingsError(
                    f"server.tls_client_ca: {self._client_ca} has no CA certificates in PEM format"
                ) from problem
            context.verify_mode = ssl.CERT_REQUIRED
            # The authority may be one that another has certified.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


def _state_of(path: Path) -> tuple[str, int, int, int]:
    """Returns what changes with a file. Raises OSError, SettingsError."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        # Reading a pipe would wait for a writer.
        raise SettingsError(f"cannot read {path}: expected a regular file")
    return str(path), info.st_mtime_ns, info.st_ctime_ns, info.st_ino
