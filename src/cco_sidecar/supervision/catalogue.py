"""Keeps the blueprints of the catalogue equal to their directory, which people and other programs may edit."""

from __future__ import annotations

import asyncio
import logging

from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.blueprints import BlueprintDirectory
from cco_sidecar.storage.trust import load_agent_types

log = logging.getLogger(__name__)

_WATCH_SECONDS = 2.0


class Catalogue:
    """The types of agents, with the blueprints of a directory. Not thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Reads the configuration of agent types and the directory. Raises SettingsError."""
        self.types: AgentTypes = load_agent_types(settings.project_root)
        self.directory = BlueprintDirectory(settings.real_blueprints)
        # Held while a blueprint is changed.
        self.changing = asyncio.Lock()
        self.problems: tuple[str, ...] = ()
        self._signature: object = None
        self._read()

    def _read(self) -> None:
        # Before the files: what changes while they are read is read again.
        signature = self.directory.signature()
        if signature == self._signature:
            return
        found = self.directory.read()
        problems = (*found.problems, *self.types.set_blueprints(found.blueprints))
        for problem in set(problems).difference(self.problems):
            log.warning("a blueprint in %s is not used: %s", self.directory.path, problem)
        self._signature, self.problems = signature, problems

    async def refresh(self) -> None:
        """Reads what has changed in the directory."""
        await asyncio.to_thread(self._read)

    async def watch(self) -> None:
        """Reads what changes in the directory. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                await self.refresh()
            except OSError as problem:
                log.warning("cannot read the blueprints in %s, retrying: %s", self.directory.path, problem)
