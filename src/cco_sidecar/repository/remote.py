"""What git may do to reach a repository elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

# What git and ssh need to reach a remote: proxies, the agent that has the keys, certificates.
_FOR_REMOTES = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSH_AUTH_SOCK", "SSL_CERT_FILE", "GIT_SSL_CAINFO", "USER", "LOGNAME"),
)


class Remote(NamedTuple):
    """What git may do to reach a remote. ``protocol``: see GIT_ALLOW_PROTOCOL (git(1)); ``configuration``: for this
    command only."""

    protocol: str
    configuration: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        """Returns variables that no other user can see, unlike arguments."""
        pairs = list(self.configuration.items())
        found = {"GIT_ALLOW_PROTOCOL": self.protocol, "GIT_CONFIG_COUNT": str(len(pairs))}
        for number, (key, value) in enumerate(pairs):
            found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        # Nobody is there to answer.
        found["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes"
        return found | {name: os.environ[name] for name in _FOR_REMOTES if name in os.environ}
