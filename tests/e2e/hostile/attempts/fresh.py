"""Places where nothing exists yet."""

from __future__ import annotations

from pathlib import Path

from attempts.core import HOME, UNITS, attempt
from attempts.files import may_make

for _name, _path in {
    "~/.cco/config.json": HOME / ".cco" / "config.json",
    "~/.cco/credentials.key": HOME / ".cco" / "credentials.key",
    "a systemd unit": UNITS / "cco-sidecar.service",
    "a drop-in of the systemd unit": UNITS / "cco-sidecar.service.d" / "x.conf",
}.items():

    def _make(path: Path = _path) -> str:
        made = [each for each in (path.parent, *path.parent.parents) if not each.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return may_make(path)
        finally:
            for each in made:
                each.rmdir()

    attempt("fresh", f"make {_name}")(_make)
