"""Refuses to build from a copy of the repository that has lost its symbolic links, such as a zip archive: the wheel
would be empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        for directory in ("src/cco_sidecar/client", "gen/python/orchestra"):
            if not (Path(self.root) / directory).is_dir():
                raise FileNotFoundError(
                    f"{directory} is missing: this copy of the repository has lost its symbolic links; "
                    "use a git clone or a source archive"
                )
