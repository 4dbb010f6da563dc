"""Sockets of the session and of the system."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

from attempts.core import TARGETS, Refused, attempt, described


def bus_addresses() -> list[str]:
    given = re.findall(r"unix:path=([^,;]+)", os.environ.get("DBUS_SESSION_BUS_ADDRESS", ""))
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return list(dict.fromkeys([*given, *([f"{runtime}/bus"] if runtime else []), f"/run/user/{os.getuid()}/bus"]))


@attempt("sockets", "speak on the user's D-Bus")
def session_bus() -> str:
    """Goes just far enough to be accepted as the user."""
    said = []
    for address in bus_addresses():
        try:
            with socket.socket(socket.AF_UNIX) as bus:
                bus.settimeout(3)
                bus.connect(address)
                bus.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
                answer = bus.recv(200)
                if answer.startswith(b"OK"):
                    return f"authenticated at {address}"
                said.append(f"{address}: {answer[:40]!r}")
        except OSError as problem:
            said.append(f"{address}: {described(problem)}")
    raise Refused("; ".join(said))


@attempt("sockets", "have systemd run something")
def systemd_run() -> str:
    words = ["systemd-run", "--user", "--quiet", "--wait", "--collect", "true"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise Refused(done.stderr.strip()[:200])
    return "it ran"


@attempt("sockets", "connect to a socket of the sidecar's")
def own_sockets() -> str:
    """Sockets that it listens on, and those named after it in the user's own directories."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"))
    places = [*map(Path, TARGETS.get("sockets", [])), *runtime.glob("cco-sidecar*"), *runtime.glob("cco-sidecar*/*")]
    said = []
    for place in dict.fromkeys(places):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            try:
                with socket.socket(socket.AF_UNIX, kind) as transport:
                    transport.settimeout(3)
                    transport.connect(str(place))
                return f"connected to {place}"
            except OSError as problem:
                said.append(f"{place.name}: {described(problem)}")
    raise Refused("; ".join(dict.fromkeys(said)) or "there is none")
