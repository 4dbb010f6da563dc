"""Certificates for tests: authorities, servers, clients; valid, expired, or for another host."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)
_PEM, _PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


@dataclass
class Issued:
    """A certificate and its key, as files."""

    cert: Path
    key: Path


class Authority:
    """A CA whose certificates are written into a directory."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        now = datetime.datetime.now(datetime.UTC)
        self._own = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 400 * _DAY)
            .not_valid_after(now + 400 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.cert = directory / f"{name}.pem"
        self.cert.write_bytes(self._own.public_bytes(_PEM))

    def issue(self, name: str, *hosts: str, days: int = 30) -> Issued:
        """Issues a certificate for names and addresses; one of negative ``days`` has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 300 * _DAY)
            .not_valid_after(now + days * _DAY)
            .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts or (name,)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        issued = Issued(self._directory / f"{name}.cert.pem", self._directory / f"{name}.key.pem")
        issued.cert.write_bytes(made.public_bytes(_PEM))
        issued.key.write_bytes(key.private_bytes(_PEM, _PKCS8, serialization.NoEncryption()))
        return issued


class Pair:
    """Two authorities, of which a client trusts one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @cached_property
    def trusted(self) -> Authority:
        return Authority(self._directory, "trusted")

    @cached_property
    def other(self) -> Authority:
        return Authority(self._directory, "other")


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
