"""Project metadata from manifests and reports. What is not found is absent."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.repository import masking
from cco_sidecar.repository.beneath import open_beneath
from cco_sidecar.repository.encodings import decode
from cco_sidecar.repository.rules import RULES_FILE
from orchestra.v1.context_service_pb2 import Metadata

T = TypeVar("T")

PROJECT_TYPES = {
    "pyproject.toml": "python", "setup.py": "python", "requirements.txt": "python", "package.json": "javascript",
    "go.mod": "go", "Cargo.toml": "rust", "pubspec.yaml": "dart", "Package.swift": "swift", "pom.xml": "java",
    "build.gradle": "java", "build.gradle.kts": "kotlin", "Gemfile": "ruby", "composer.json": "php",
    "mix.exs": "elixir", "CMakeLists.txt": "c++",
}  # fmt: skip
_COVERAGE = (
    "coverage.xml",
    "coverage.json",
    "coverage/coverage-summary.json",
    "lcov.info",
    "coverage/lcov.info",
)
_JUNIT = (
    "junit.xml",
    "test-results.xml",
    "report.xml",
    "test-results/junit.xml",
    "reports/junit.xml",
    "build/junit.xml",
)
_SARIF = ("results.sarif", "security.sarif", "codeql.sarif", "reports/results.sarif")
REPORTS = (*_COVERAGE, *_JUNIT, *_SARIF)
_MAX_BYTES = 4 * 2**20
_MAX_DEPENDENCIES = 5000
_LONGEST = 300
# The errors of files that are being edited, damaged or malicious. Such files count as absent.
_UNREADABLE = (
    ValueError, TypeError, AttributeError, KeyError, IndexError, ArithmeticError, RecursionError, OSError,
    ElementTree.ParseError,
)  # fmt: skip
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._\-]*(?:\[[^\]]*\])?\s*[^#;]*)")
_VERSION = re.compile(r"[\w.,<>=!~*\- ]{1,100}")
_GO_REQUIRE = re.compile(r"^\s*(?:require\s+)?([\w.\-/]+\.[\w.\-/]+)\s+(v[\w.\-+]+)", re.MULTILINE)

_GO_OTHER_BLOCK = re.compile(r"(?ms)^(?:exclude|replace|retract)\s*\(.*?^\)|^(?:exclude|replace|retract)\s[^\n]*")
# Results of a SARIF report that say that all is well (SARIF 2.1.0, section 3.27.9).
_NO_FINDING = frozenset(("pass", "informational", "notApplicable"))


def unwatched_stats(root: Path, stat: Callable[[Path], T]) -> tuple[T, ...]:
    """Returns the stats of all reports and of the rules. Git often ignores such files, so they are not watched."""
    return tuple(stat(root / name) for name in (*REPORTS, RULES_FILE))


def read(root: Path, files: Iterable[str]) -> Metadata:
    """Reads manifests at the root, and reports in their usual locations, even those that git ignores."""
    found = Metadata()
    names = {name for name in files if "/" not in name}
    types = sorted({kind for name, kind in PROJECT_TYPES.items() if name in names})
    if types:
        found.project_type = types[0] if len(types) == 1 else "mixed"
    found.dependencies.extend(sorted({_shown(text) for text in _dependencies(root, names)})[:_MAX_DEPENDENCIES])
    version = _python_version(root, names)
    if version and _VERSION.fullmatch(version):
        found.python_version = version
    coverage = _first(root, _COVERAGE, _coverage)
    if coverage is not None:
        found.test_coverage = coverage
    build = _first(root, _JUNIT, _junit)
    if build is not None:
        found.last_build_status, seconds = build
        found.last_build_time.CopyFrom(Timestamp(seconds=seconds))
    scan = _first(root, _SARIF, _sarif)
    if scan is not None:
        found.security_scan_status = scan
    return found


def _dependencies(root: Path, names: set[str]) -> list[str]:
    found: list[str] = []
    for name in sorted(names):
        text = _text(root, name) if name in _READERS or _is_requirements(name) else None
        if text is None:
            continue
        try:
            found += (_requirements if _is_requirements(name) else _READERS[name])(text)
        except _UNREADABLE:
            continue
    return found


def _shown(text: str) -> str:
    """Returns the text as one line of bounded length, with secrets masked."""
    line = " ".join(text.split())[:_LONGEST].encode("utf-8", "replace").decode()
    return masking.mask(line)


def _is_requirements(name: str) -> bool:
    return name.startswith("requirements") and name.endswith(".txt")


def _requirements(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("#", "-"))]
    return [match[1].strip().rstrip("\\").strip() for line in lines if (match := _REQUIREMENT.match(line))]


def _pyproject(text: str) -> list[str]:
    document = tomllib.loads(text)
    found = [str(item) for item in document.get("project", {}).get("dependencies", [])]
    poetry = document.get("tool", {}).get("poetry", {}).get("dependencies", {})
    return found + _pairs({name: value for name, value in poetry.items() if name != "python"})


def _package_json(text: str) -> list[str]:
    document = json.loads(text)
    return _pairs({**document.get("dependencies", {}), **document.get("devDependencies", {})}, "@")


def _cargo(text: str) -> list[str]:
    document = tomllib.loads(text)
    return _pairs(document.get("dependencies", {}) | document.get("workspace", {}).get("dependencies", {}))


def _go_mod(text: str) -> list[str]:
    return [f"{module} {version}" for module, version in _GO_REQUIRE.findall(_GO_OTHER_BLOCK.sub("", text))]


def _pairs(items: Mapping[str, Any], join: str = " ") -> list[str]:
    """Returns name and version of each entry; a value is a version or a table that contains one."""
    found = []
    for name, value in items.items():
        version = value if isinstance(value, str) else value.get("version", "") if isinstance(value, dict) else ""
        found.append(f"{name}{join}{version}" if version else name)
    return found


_READERS: dict[str, Callable[[str], list[str]]] = {
    "pyproject.toml": _pyproject,
    "package.json": _package_json,
    "go.mod": _go_mod,
    "Cargo.toml": _cargo,
}


def _python_version(root: Path, names: set[str]) -> str | None:
    if ".python-version" in names:
        return (_text(root, ".python-version") or "\n").splitlines()[0].strip() or None
    if "pyproject.toml" in names:
        try:
            document = tomllib.loads(_text(root, "pyproject.toml") or "")
            wanted = document.get("project", {}).get("requires-python")
        except _UNREADABLE:
            return None
        return wanted if isinstance(wanted, str) else None
    return None


def _first(root: Path, names: Iterable[str], read_one: Callable[[Path, str], T | None]) -> T | None:
    for name in names:
        text = _text(root, name)
        if text is None:
            continue
        try:
            value = read_one(root / name, text)
        except _UNREADABLE:
            continue
        if value is not None:
            return value
    return None


def _coverage(path: Path, text: str) -> float | None:
    percent = _lines_covered(path, text)
    return round(percent, 2) if percent is not None and 0 <= percent <= 100 else None


def _lines_covered(path: Path, text: str) -> float | None:
    """Returns the percentage of lines covered, from Cobertura, coverage.py, Istanbul or LCOV."""
    if path.suffix == ".xml":
        rate = _xml(text).get("line-rate")
        return float(rate) * 100 if rate is not None else None
    if path.suffix == ".info":
        found = sum(map(int, re.findall(r"^LF:(\d+)", text, re.MULTILINE)))
        hit = sum(map(int, re.findall(r"^LH:(\d+)", text, re.MULTILINE)))
        return hit * 100 / found if found else None
    document = json.loads(text)
    if "totals" in document:
        return float(document["totals"]["percent_covered"])
    return float(document["total"]["lines"]["pct"])


def _junit(path: Path, text: str) -> tuple[str, int] | None:
    """Returns the status of a JUnit XML report, and the file's modification time in Unix seconds."""
    root = _xml(text)
    suites = [root] if root.tag == "testsuite" else root.findall("testsuite")
    if not suites:
        return None
    bad = sum(int(suite.get("failures", 0)) + int(suite.get("errors", 0)) for suite in suites)
    return ("failed" if bad else "success"), int(path.lstat().st_mtime)


def _sarif(path: Path, text: str) -> str | None:
    runs = json.loads(text)["runs"]
    results = [result for run in runs for result in run.get("results", [])]
    count = sum(not result.get("suppressions") and result.get("kind") not in _NO_FINDING for result in results)
    return f"findings:{count}" if count else "clean"


def _xml(text: str) -> ElementTree.Element:
    if "<!ENTITY" in text:
        raise ValueError("XML entities are not allowed")
    return ElementTree.fromstring(text)


def _text(root: Path, name: str) -> str | None:
    try:
        with open(open_beneath(root, name), "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError:
        return None
    decoded = decode(data) if len(data) <= _MAX_BYTES else None
    return decoded.text if decoded is not None else None
