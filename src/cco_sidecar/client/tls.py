"""TLS of a client: the files it uses, and why a server cannot be reached with them."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

import grpc

from cco_sidecar.core import certificates
from cco_sidecar.core.errors import SettingsError

_HANDSHAKE_SECONDS = 2.0


class Tls:
    """``ca_file`` verifies the server; ``cert_file`` and ``key_file`` are presented to it. Each is in PEM format.

    Without ``ca_file``, the system's authorities count. Raises SettingsError for a file that cannot be read.
    """

    def __init__(
        self,
        ca_file: str | None,
        cert_file: str | None,
        key_file: str | None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._ca = ca_file or environment.get("SIDECAR_CA_FILE")
        self._cert = cert_file or environment.get("SIDECAR_CERT_FILE")
        self._key = key_file or environment.get("SIDECAR_KEY_FILE") or self._cert
        if self._key is not None and self._cert is None:
            raise SettingsError(f"a TLS key ({self._key}) needs its certificate: cert_file or SIDECAR_CERT_FILE")

    def credentials(self) -> grpc.ChannelCredentials:
        files = (self._ca, self._key, self._cert)
        try:
            authority, key, chain = (Path(name).read_bytes() if name else None for name in files)
        except OSError as problem:
            raise SettingsError(f"cannot read the TLS file {problem.filename}: {problem.strerror}") from problem
        self.context()
        return grpc.ssl_channel_credentials(authority, key, chain)

    def context(self, protocol: str = "h2") -> ssl.SSLContext:
        """``protocol``: what is spoken (ALPN, RFC 7301). Raises SettingsError for files that cannot be used, which gRPC
        would only log."""
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except ssl.SSLError as problem:
            raise SettingsError(f"expected certificates in PEM format in {self._ca}") from problem
        context.set_alpn_protocols([protocol])
        if self._cert is not None and self._key is not None:
            certificates.load(context, self._cert, self._key)
        return context

    def problem(self, address: str) -> str:
        """Returns why no connection to ``host:port`` comes about, as far as a handshake tells; empty if it succeeds.

        gRPC retries a handshake that failed until the call's time is over, and says no more than that.
        """
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        try:
            context = self.context()
            with (
                socket.create_connection((host, int(port)), timeout=_HANDSHAKE_SECONDS) as plain,
                context.wrap_socket(plain, server_hostname=host) as encrypted,
            ):
                # With TLS 1.3, the server looks at the client's certificate after the handshake (RFC 8446, section 2);
                # one that is content sends its HTTP/2 settings first.
                if not encrypted.recv(1):
                    return self._refused()
        except ssl.SSLCertVerificationError as problem:
            return f"its certificate is not accepted: {problem.verify_message}"
        except ssl.SSLError as problem:
            if "CERTIFICATE" in (problem.reason or ""):
                return self._refused()
            return f"TLS failed: {(problem.reason or str(problem)).replace('_', ' ').lower()}"
        except TimeoutError:
            return ""
        except (OSError, ValueError) as problem:
            return str(problem)
        return ""

    def _refused(self) -> str:
        if self._cert is None:
            return "the server hung up, as one does that wants a client's certificate (SIDECAR_CERT_FILE)"
        return f"the server hung up, as one does that does not accept the certificate in {self._cert}"
