"""Remembers over restarts which files hold no secret, by their content."""

from __future__ import annotations

import hashlib
import logging
from functools import cache
from importlib import resources
from pathlib import Path

from cco_sidecar.repository.masking.scan import has_bare_values

log = logging.getLogger(__name__)

# Of a SHA-256.
_KEY_BYTES = 16
# A file with more entries is written again from the start.
_MOST = 200_000


class CleanFiles:
    """A file of keys: a line that says which rules they are for, then one key after the other.

    Several processes may append to it. It is only a cache: what cannot be read or written is forgotten.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Now, because an upgrade may replace the files of the package that this process has loaded.
        self._rules = _rules()
        self._known: set[bytes] | None = None
        self._new: list[bytes] = []

    def holds(self, data: bytes, path: str) -> bool:
        """Whether a file with this content is known to hold no secret. ``path`` says how its values are written."""
        return bool(self._keys) and _key(data, path) in self._keys

    def add(self, data: bytes, path: str) -> None:
        key = _key(data, path)
        if key not in self._keys and len(self._keys) < _MOST:
            self._keys.add(key)
            self._new.append(key)

    def save(self) -> None:
        """Writes what was added."""
        new, self._new = self._new, []
        if not new:
            return
        try:
            if len(self._keys) >= _MOST or self._read() is None:
                self._path.write_bytes(self._rules)
            with open(self._path, "ab", buffering=0) as file:
                file.write(b"".join(new))
        except OSError as problem:
            log.debug("cannot remember which files hold no secret: %s", problem)

    @property
    def _keys(self) -> set[bytes]:
        if self._known is None:
            data = self._read() or b""
            self._known = {data[at : at + _KEY_BYTES] for at in range(0, len(data) - _KEY_BYTES + 1, _KEY_BYTES)}
        return self._known

    def _read(self) -> bytes | None:
        """Returns the keys; None if there are none for these rules."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return None
        whole = (len(data) - len(self._rules)) % _KEY_BYTES == 0
        return data[len(self._rules) :] if data.startswith(self._rules) and whole else None


def _key(data: bytes, path: str) -> bytes:
    return hashlib.sha256((b"bare" if has_bare_values(path) else b"code") + data).digest()[:_KEY_BYTES]


@cache
def _rules() -> bytes:
    """Identifies the rules of masking: the content of this package."""
    digest = hashlib.sha256()
    for file in sorted(resources.files(__package__).iterdir(), key=lambda file: file.name):
        if file.name.endswith((".py", ".toml")):
            digest.update(file.read_bytes())
    return f"sha256:{digest.hexdigest()}\n".encode()
