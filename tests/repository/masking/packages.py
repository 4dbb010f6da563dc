"""Source code of public packages: what is installed in this environment."""

from __future__ import annotations

import ast
import itertools
import json
import sysconfig
import tomllib
from pathlib import Path

_SUFFIXES = {".py", ".pyi", ".json", ".toml", ".cfg", ".md", ".rst", ".js", ".css", ".html", ".h", ".c", ".proto"}
_MAX_BYTES = 2_000_000


def package_files(most: int) -> list[tuple[Path, bytes]]:
    """Returns the first files by path, with their bytes."""
    root = Path(sysconfig.get_paths()["purelib"])
    # Our own package is installed there as links or copies.
    paths = (each for each in sorted(root.rglob("*")) if each.suffix in _SUFFIXES and "cco" not in str(each))
    files = ((path, path.read_bytes()) for path in paths if path.is_file() and path.stat().st_size < _MAX_BYTES)
    return list(itertools.islice(((path, data) for path, data in files if b"\0" not in data), most))


def parses(path: Path, data: bytes) -> bool:
    """Reports whether a file has valid syntax; True for languages without a parser here."""
    try:
        match path.suffix:
            case ".py" | ".pyi":
                ast.parse(data)
            case ".json":
                json.loads(data)
            case ".toml":
                tomllib.loads(data.decode())
    except (SyntaxError, ValueError):
        return False
    return True
