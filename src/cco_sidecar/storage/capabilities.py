"""The addresses for clients of the Agent Orchestrator Framework: a secret for each project, and the ports in use.

They are in files that only the operator can read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import secrets
from pathlib import Path

import orjson

from cco_sidecar.storage.files import PRIVATE_FILE, write_atomically

_FILE = "capabilities.json"
_PORTS = "orchestrator-ports.json"
_BYTES = 24


class Capabilities:
    """Both the sidecar and the command that prints the addresses read the file. Blocks on it."""

    def __init__(self, storage: Path) -> None:
        self._path = storage / _FILE
        self._known: dict[str, str] = {}
        self._read_at = (0, 0)

    def of(self, project: str) -> str:
        """Returns the secret of a project, made if there is none. An empty name is the default project. Raises
        OSError."""
        self._read()
        if project not in self._known:
            known = self._known | {project: secrets.token_urlsafe(_BYTES)}
            write_atomically(self._path, orjson.dumps(known), mode=PRIVATE_FILE)
            self._known = known
        return self._known[project]

    def revoke(self, project: str) -> bool:
        """Forgets the secret of a project; returns whether there was one. Raises OSError."""
        self._read()
        known = {name: secret for name, secret in self._known.items() if name != project}
        found = len(known) < len(self._known)
        if found:
            write_atomically(self._path, orjson.dumps(known), mode=PRIVATE_FILE)
        return found

    def project_of(self, secret: str) -> str | None:
        """Returns the project that a secret is for."""
        self._read()
        given, found = secret.encode(), None
        for project, known in self._known.items():
            # In constant time, so that a secret cannot be guessed a character at a time.
            if hmac.compare_digest(known.encode(), given):
                found = project
        return found

    def _read(self) -> None:
        """Reads the file if it has changed. One that is missing or damaged has no secrets."""
        try:
            info = self._path.stat()
        except OSError:
            self._known = {}
            return
        if (info.st_mtime_ns, info.st_ino) == self._read_at:
            return
        found: object = {}
        with contextlib.suppress(OSError, orjson.JSONDecodeError):
            found = orjson.loads(self._path.read_bytes())
        named = found.items() if isinstance(found, dict) else ()
        self._known = {str(name): str(secret) for name, secret in named if secret}
        self._read_at = (info.st_mtime_ns, info.st_ino)


@dataclasses.dataclass(frozen=True)
class Ports:
    """The ports of a running sidecar."""

    storage: Path
    runtime: int
    store: int
    registry: int

    @classmethod
    def of(cls, storage: Path) -> Ports | None:
        """Returns the ports in use; None if there are none."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return cls(storage, *orjson.loads((storage / _PORTS).read_bytes()))
        return None

    def write(self) -> None:
        """Lets commands find the ports. Raises OSError."""
        ports = [self.runtime, self.store, self.registry]
        write_atomically(self.storage / _PORTS, orjson.dumps(ports), mode=PRIVATE_FILE)

    def remove(self) -> None:
        (self.storage / _PORTS).unlink(missing_ok=True)
