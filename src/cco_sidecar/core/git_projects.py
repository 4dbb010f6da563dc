"""Projects that are named by the URL of a git repository."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_SCHEMES = ("https", "ssh", "file", "http")
# As git-clone(1) takes them: user@host:path.
_SCP = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!//)[^\s:][^\s]*")
_BRANCH = re.compile(r"[A-Za-z0-9_][\w./-]*")
_CREDENTIAL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYS = ("url", "branch", "credential")
# Of a project in the config file (JSON Schema).
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in _KEYS},
    "required": ["url"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class GitProject:
    """``branch``: empty for the one that the remote has checked out; ``credential``: the name of a stored credential,
    which is the token for HTTPS; empty for none."""

    url: str
    branch: str = ""
    credential: str = ""

    @property
    def protocol(self) -> str:
        """The protocol that git may use, as in GIT_ALLOW_PROTOCOL (git(1))."""
        return urlsplit(self.url).scheme if "://" in self.url else "ssh"


def is_url(value: str) -> bool:
    """Whether a text names a repository elsewhere rather than a directory."""
    return "://" in value or (not value.startswith(("/", ".", "~")) and bool(_SCP.fullmatch(value)))


def git_project(value: Any) -> GitProject:
    """Reads a URL, or an object with a ``url``. Raises ValueError."""
    given = {"url": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not all(isinstance(each, str) for each in given.values()):
        raise ValueError("expected a directory, a URL, or an object with 'url', 'branch' and 'credential'")
    if unknown := sorted(set(given).difference(_KEYS)):
        raise ValueError(f"unknown key '{unknown[0]}'; expected url, branch, credential")
    found = GitProject(**{"url": ""} | given)
    parts = urlsplit(found.url)
    if not is_url(found.url) or ("://" in found.url and parts.scheme not in _SCHEMES) or found.url.startswith("-"):
        raise ValueError(f"expected a URL with {', '.join(_SCHEMES)}, or user@host:path")
    if parts.password:
        raise ValueError("the URL has a password; store it with 'cco credentials store' and name it as 'credential'")
    if found.branch and not _BRANCH.fullmatch(found.branch):
        raise ValueError(f"branch: {found.branch!r} is not the name of a branch")
    if found.credential and not _CREDENTIAL.fullmatch(found.credential):
        raise ValueError(f"credential: {found.credential!r} is not the name of a credential")
    if found.credential and found.protocol != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("a credential is sent over https only")
    return found
