"""What NATS servers say of themselves on their monitoring ports: whether what they acknowledge is on disk."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

_SECONDS = 3.0
_MAX_BYTES = 2**20


class Server(NamedTuple):
    """``problem``: why it could not be asked; empty otherwise. ``syncs``: it syncs each message before it
    acknowledges it."""

    url: str
    name: str = ""
    syncs: bool = False
    problem: str = ""


async def servers(urls: Sequence[str]) -> list[Server]:
    """Asks each monitoring port, such as ``http://nats-1:8222``."""
    return await asyncio.gather(*(asyncio.to_thread(_ask, url) for url in urls))


def warning(found: Sequence[Server]) -> str:
    """Returns what an operator should know about the durability of events; empty if all is well."""
    if not found:
        return "nobody says whether NATS syncs what it acknowledges; set bus.monitor_urls"
    if away := [f"{each.url} ({each.problem})" for each in found if each.problem]:
        return f"the monitoring port of a NATS server does not answer: {', '.join(away)}"
    if lazy := [each.name or each.url for each in found if not each.syncs]:
        return (
            f"{', '.join(lazy)}: NATS acknowledges events before they are on disk; a power failure can lose those of "
            "the last minutes"
        )
    return ""


async def warn(urls: Sequence[str]) -> None:
    """Logs the warning, if there is one."""
    if text := warning(await servers(urls)):
        log.warning("%s", text)


def _ask(url: str) -> Server:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/varz", timeout=_SECONDS) as answer:
            said: dict[str, Any] = json.loads(answer.read(_MAX_BYTES))
        config = said.get("jetstream", {}).get("config", {})
        return Server(url, said.get("server_name", ""), config.get("sync_always") is True)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError, AttributeError) as problem:
        return Server(url, problem=str(getattr(problem, "reason", problem)))
