"""Reads the version from the package, and refuses to build from a copy of the repository that has lost its symbolic
links, such as a zip archive: the wheel would be empty."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_ROOT = Path(__file__).resolve().parent


class CustomBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        _require_links()


def version() -> str:
    _require_links()
    found = re.search(r'__version__ = "(.+)"', (_ROOT / "src/cco_sidecar/__init__.py").read_text())
    assert found is not None
    return found[1]


def _require_links() -> None:
    for directory in ("src/cco_sidecar/client", "gen/python/orchestra"):
        if not (_ROOT / directory).is_dir():
            raise FileNotFoundError(
                f"{directory} is missing: this copy of the repository has lost its symbolic links; "
                "use a git clone or a source archive"
            )
