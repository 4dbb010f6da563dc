"""What `cco doctor` finds, for those who cannot run it on this machine."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio import subprocess

import orjson

from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, internal
from cco_sidecar.core.settings import Settings
from orchestra.v1.system_service_pb2 import Finding, ListFindingsResponse

_FRESH_SECONDS = 30.0
_TIMEOUT_SECONDS = 120.0


class Doctor:
    """Runs the command, at most once at a time and every 30 seconds: it starts programs to see their versions."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = asyncio.Lock()
        self._found: ListFindingsResponse | SidecarError = ListFindingsResponse()
        self._ran_at = -_FRESH_SECONDS

    async def findings(self) -> ListFindingsResponse:
        """Raises SidecarError (INT_001)."""
        async with self._lock:
            if time.monotonic() - self._ran_at >= _FRESH_SECONDS:
                # A failure is kept too: what takes long or fails is not tried at every call.
                try:
                    self._found = await self._run()
                except SidecarError as problem:
                    self._found = problem
                self._ran_at = time.monotonic()
            if isinstance(self._found, SidecarError):
                raise self._found
            return self._found

    async def _run(self) -> ListFindingsResponse:
        chosen = ["--config", str(self._settings.config_file)] if self._settings.config_file else []
        # -P: the working directory is often the repository, whose files must not be imported.
        command = [sys.executable, "-P", "-m", "cco_sidecar.cli.main", *chosen, "doctor", "--format", "json"]
        environment = os.environ | {"CCO_SIDECAR_STORAGE": str(self._settings.storage)}
        program = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            output, said = await asyncio.wait_for(program.communicate(), _TIMEOUT_SECONDS)
            found = [Finding(**each) for each in orjson.loads(output)]
        except TimeoutError:
            raise internal("INT_001", f"cco doctor took more than {_TIMEOUT_SECONDS:g} s") from None
        except (ValueError, TypeError) as problem:
            lines = said.decode(errors="replace").strip().splitlines() or ["it printed nothing"]
            raise internal("INT_001", f"cco doctor failed: {lines[-1]}") from problem
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()
        return ListFindingsResponse(findings=found, checked_at=self._clock.timestamp())
