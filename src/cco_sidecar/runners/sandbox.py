"""The sandbox policy: what an agent may see and change. ``confine`` enforces it; ADR 0014 explains it."""

from __future__ import annotations

import logging
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cco_sidecar
import orchestra
from cco_sidecar.core import run_directory
from cco_sidecar.core.converters import SANDBOX_MODES
from cco_sidecar.core.errors import SettingsError, spawn_failed
from cco_sidecar.core.settings import Settings

log = logging.getLogger(__name__)

AUTO, REQUIRE, OFF = SANDBOX_MODES
_CODE = Path(__file__).parent
_TRIAL = (
    "import sys; sys.path.append(sys.argv[1]); import confine, shim; shim.become_subreaper(); "
    "sys.stdout.write(confine.trial(sys.argv[2:]))"
)
_TRIAL_SECONDS = 10
_UNITS = "cco-sidecar*"
# Prefixes of the whole system: they are not the sidecar's own, and other packages are installed there.
_SYSTEMS = frozenset({"/usr", "/usr/local"})


class User(NamedTuple):
    """The user that agents run as (passwd(5))."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    groups: tuple[int, ...]

    @classmethod
    def named(cls, name: str) -> User:
        """Looks up a user. Raises SettingsError if it does not exist or agents cannot run as that user."""
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            raise SettingsError(f"agents.run_as: user '{name}' does not exist on this machine") from None
        if os.geteuid() != 0:
            raise SettingsError("agents.run_as: only a sidecar that runs as root may start agents as another user")
        if found.pw_uid == 0:
            raise SettingsError("agents.run_as: root is not allowed; name an unprivileged user")
        groups = tuple(os.getgrouplist(name, found.pw_gid))
        return cls(name, found.pw_uid, found.pw_gid, found.pw_dir, found.pw_shell, groups)

    def environment(self) -> dict[str, str]:
        """Returns the variables that describe the user."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell}


class Sandbox:
    """``problem``: why agents are not confined; empty if they are, or if the sandbox is off."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError if agents cannot run as the configured user."""
        self._settings = settings
        self.user = User.named(settings.run_as) if settings.run_as else None
        self.problem = "" if settings.sandbox == OFF else trial(tuple(map(str, self._hidden(settings.project_root))))
        self.active = settings.sandbox != OFF and not self.problem
        if settings.run_as and not self.active:
            raise SettingsError(f"agents.run_as requires the sandbox: {self.problem or 'agents.sandbox is off'}")

    def announce(self) -> None:
        """Logs at the start if agents run without a sandbox."""
        consequence = "an agent can read the operator's token (docs/security.md)"
        if self._settings.sandbox == OFF:
            log.info("agents are not sandboxed because agents.sandbox is off: %s", consequence)
        elif self.problem and self._settings.sandbox == AUTO:
            log.warning("agents are not sandboxed: %s; %s", self.problem, consequence)

    def require(self) -> None:
        """Raises SidecarError (AGT_001) if agents must be confined and cannot be."""
        if self._settings.sandbox == REQUIRE and not self.active:
            raise spawn_failed(f"agents.sandbox is 'require', but agents cannot be sandboxed here: {self.problem}")

    def specification(self, root: Path, visible: Sequence[Path]) -> dict[str, Any] | None:
        """Returns the sandbox's part of a run's specification; None without a sandbox. ``root``: the agent's project;
        ``visible``: paths that stay visible inside hidden ones."""
        if not self.active:
            return None
        user = self.user
        return {
            "hidden": [str(path) for path in self._hidden(root)],
            "visible": [str(path) for path in (root, *visible, *_sockets()[1])],
            "read_only": [str(path) for path in _installation()],
            "user": {"uid": user.uid, "gid": user.gid, "groups": list(user.groups)} if user else None,
        }

    def _hidden(self, root: Path) -> Iterator[Path]:
        yield from (self._settings.storage, self._settings.credentials_key_file)
        # Of other sidecars that this user runs here now.
        yield from (Path(each.storage) for each in run_directory.running())
        # Create the directories that may hold our files later, so that an agent cannot create them first.
        for path in (Path("~/.cco").expanduser(), Path("~/.config/systemd").expanduser(), *run_directory.candidates()):
            with suppress(OSError):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            yield path
        yield from sorted(Path("/etc/systemd/system").glob(_UNITS))
        yield from _sockets()[0]
        for project in self._settings.project_directories.values():
            if not project.is_relative_to(root) and not root.is_relative_to(project):
                yield project


def _sockets() -> tuple[list[Path], list[Path]]:
    """Returns directories with sockets through which a service manager would run a program outside the sandbox, and the
    paths in them that programs need.

    A whole directory is hidden where possible, so that a recreated socket stays hidden.
    """
    of_user = {Path(f"/run/user/{os.getuid()}"), Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")}
    hidden = [
        path for each in sorted(of_user) for path in ([each] if _is_private(each) else [each / "bus", each / "systemd"])
    ]
    visible = [directory / "gnupg" for directory in sorted(of_user)]
    if agent := os.environ.get("SSH_AUTH_SOCK"):
        visible.append(Path(agent))
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    if address.startswith("unix:path="):
        hidden.append(Path(address.removeprefix("unix:path=").partition(",")[0]))
    if os.geteuid() == 0:
        hidden += [Path("/run/dbus"), Path("/run/systemd")]
        visible.append(Path("/run/systemd/resolve"))
    return hidden, visible


def _is_private(directory: Path) -> bool:
    """Whether only the owner can access the directory, as the XDG Base Directory Specification requires. Some systems
    name a shared one, such as /tmp."""
    try:
        found = directory.stat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _installation() -> list[Path]:
    """Returns the directories that the sidecar runs from: its environment, and its packages if they are elsewhere."""
    packages = [Path(path) for package in (cco_sidecar, orchestra) for path in package.__path__]
    if sys.prefix != sys.base_prefix:
        packages.append(Path(sys.prefix))
    if sys.base_prefix not in _SYSTEMS:
        packages.append(Path(sys.base_prefix))
    return sorted(path.resolve() for path in packages)


@cache
def trial(hidden: tuple[str, ...] = ()) -> str:
    """Returns why agents cannot be confined here; empty if they can. Cached, because the kernel's configuration
    decides."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRIAL, str(_CODE), str(_CODE), *hidden],
            capture_output=True,
            text=True,
            timeout=_TRIAL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"the sandbox test failed: {problem}"
    return done.stdout.strip() if done.returncode == 0 else f"the sandbox test failed: {done.stderr.strip()[-200:]}"
