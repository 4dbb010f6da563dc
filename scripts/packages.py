"""Writes the packages that are not Python's into a directory, the same bytes each time: the Go module as a module proxy
serves it, the npm package, and an archive of the protos for every other language.

    python scripts/packages.py dist
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from cco_sidecar import __version__

ROOT = Path(__file__).parent.parent
# The earliest time that a zip archive can say; npm's archives have the same day.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_TAR_TIME = 315532800


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    write_go_module(directory / "go")
    package = json.loads((ROOT / "gen/ts/package.json").read_text())
    name = package["name"].removeprefix("@").replace("/", "-")
    write_archive(directory / f"{name}-{__version__}.tgz", "package", ROOT / "gen/ts", _files(ROOT / "gen/ts"))
    protos = [path for path in _files(ROOT / "proto") if path.parts[0] in ("orchestra", "google", "README.md")]
    write_archive(directory / f"orchestra-protos-{__version__}.tar.gz", "orchestra-protos", ROOT / "proto", protos)
    for path in sorted(path for path in directory.rglob("*") if path.is_file() and __version__ in path.name):
        sys.stdout.write(f"{path}\n")


def write_go_module(directory: Path) -> None:
    """Writes gen/go as a file tree that GOPROXY=file://... reads (https://go.dev/ref/mod#goproxy-protocol)."""
    source = ROOT / "gen/go"
    module = (source / "go.mod").read_text().splitlines()[0].removeprefix("module ")
    versions = directory / module / "@v"
    versions.mkdir(parents=True, exist_ok=True)
    version = f"v{__version__}"
    (versions / "list").write_text(f"{version}\n")
    (versions / f"{version}.info").write_text(json.dumps({"Version": version, "Time": "1980-01-01T00:00:00Z"}))
    (versions / f"{version}.mod").write_bytes((source / "go.mod").read_bytes())
    with zipfile.ZipFile(versions / f"{version}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(source):
            info = zipfile.ZipInfo(f"{module}@{version}/{path.as_posix()}", _ZIP_TIME)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, (source / path).read_bytes())


def write_archive(target: Path, top: str, source: Path, paths: list[Path]) -> None:
    """Writes files of ``source`` into a gzipped tar archive, below the directory ``top``."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in paths:
            content = (source / path).read_bytes()
            info = tarfile.TarInfo(f"{top}/{path.as_posix()}")
            info.size, info.mtime, info.mode = len(content), _TAR_TIME, 0o644
            archive.addfile(info, io.BytesIO(content))
    compressed = bytearray(gzip.compress(packed.getvalue(), mtime=0))
    # The operating system (RFC 1952, section 2.3.1): unknown, as only some versions of Python say.
    compressed[9] = 255
    target.write_bytes(compressed)


def _files(directory: Path) -> list[Path]:
    """Returns the files that git knows, so that nothing else that lies there is published."""
    command = ["git", "-C", str(directory), "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, capture_output=True, check=False)
    if listed.returncode:
        # An unpacked archive of the sources.
        return sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return sorted(Path(name) for name in listed.stdout.decode().split("\0") if name and (directory / name).is_file())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
