"""What the commands share: the address of the store, requests, output. Standard library only."""

from __future__ import annotations

import base64
import json
import mimetypes
import os
import re
import secrets
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

_PORTS, _CAPABILITIES = "orchestrator-ports.json", "capabilities.json"
_STORE = 1
_TEXT = re.compile(r"text/|application/(json|xml)")
for _ending, _kind in (
    (".md", "text/markdown"),
    (".yaml", "text/yaml"),
    (".yml", "text/yaml"),
    (".toml", "text/plain"),
):
    mimetypes.add_type(_kind, _ending)


def fail(text: str) -> NoReturn:
    """Ends the command with an error."""
    print(json.dumps({"error": text}), file=sys.stderr)
    raise SystemExit(1)


def show(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _storage() -> Path | None:
    """Returns the storage of a sidecar that serves the store."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    named = os.environ.get("CCO_SIDECAR_STORAGE")
    places = [named] if named else [f"{state}/cco-sidecar", "/tmp/cco-sidecar"]
    found = (Path(place).expanduser() for place in places)
    return next((place for place in found if (place / _PORTS).exists()), None)


def _base() -> tuple[str, dict[str, str]]:
    """Returns the address of the store, and the headers that open it."""
    host = os.environ.get("DOC_SYNC_HOST")
    if host:
        user, sign, name = host.rpartition("@")
        headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if sign else {}
        port = os.environ.get("DOC_SYNC_PORT", "8766")
        return f"{os.environ.get('DOC_SYNC_SCHEME', 'http')}://{name}:{port}", headers
    storage = _storage()
    if storage is None:
        fail("no sidecar serves the context store; start it with 'make start-bg', or set DOC_SYNC_HOST")
    try:
        ports = json.loads((storage / _PORTS).read_text())
        secret = json.loads((storage / _CAPABILITIES).read_text())[""]
    except (OSError, ValueError, KeyError):
        fail(f"cannot read the address in {storage}; set DOC_SYNC_HOST, which 'cco compat env' prints")
    return f"http://127.0.0.1:{ports[_STORE]}/k/{secret}", {}


class Answer:
    def __init__(self, data: bytes, headers: Any) -> None:
        self.data = data
        self.headers = headers

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def ask(method: str, path: str, data: bytes | None = None, kind: str = "application/json", **query: Any) -> Answer:
    """Returns the answer. Ends the command if it is an error, or if there is none."""
    base, headers = _base()
    given = {name: value for name, value in query.items() if value not in (None, "")}
    url = base + path + (f"?{urlencode(given)}" if given else "")
    request = urllib.request.Request(url, data, {"Content-Type": kind, **headers}, method=method)
    if os.environ.get("DEBUG_LOGGING", "").lower() in ("1", "true", "yes"):
        print(f"{method} {re.sub('/k/[^/]+', '/k/...', url)}", file=sys.stderr)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Answer(answer.read(), answer.headers)
    except urllib.error.HTTPError as problem:
        text = problem.read().decode(errors="replace")
        try:
            found = json.loads(text)["detail"]
            text = found if isinstance(found, str) else json.dumps(found)
        except (ValueError, KeyError, TypeError):
            pass
        fail(text)
    except OSError as problem:
        fail(f"no answer from {re.sub('/k/[^/]+', '', base)}: {getattr(problem, 'reason', problem)}")


def post(method: str, path: str, body: Any) -> Any:
    return ask(method, path, json.dumps(body).encode()).json


def form(name: str, data: bytes, fields: dict[str, str]) -> tuple[bytes, str]:
    """Returns a multipart form with a file (RFC 7578), and its media type."""
    boundary = secrets.token_hex(16)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    quoted = name.replace("\\", "_").replace('"', "%22")
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
        f"Content-Type: {kind}\r\n\r\n".encode()
        + data
        + b"\r\n"
    ]
    for key, value in fields.items():
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode())
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def is_text(kind: str) -> bool:
    return _TEXT.match(kind) is not None


def read_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as problem:
        fail(f"{path}: {problem.strerror or problem}")


def write_file(path: str, data: bytes) -> None:
    try:
        Path(path).write_bytes(data)
    except OSError as problem:
        fail(f"{path}: {problem.strerror or problem}")
