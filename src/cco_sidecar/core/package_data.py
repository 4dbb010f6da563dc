"""Files that ship with the package: inside it in a wheel, at the top of the tree in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_CHECKOUT = _PACKAGE.parent.parent


def agent_types_file() -> Path:
    return _first(_PACKAGE / "data" / "orchestra-config.json", _CHECKOUT / "config" / "orchestra-config.json")


def openapi_file() -> Path:
    return _first(_PACKAGE / "data" / "openapi.json", _CHECKOUT / "gen" / "openapi" / "orchestra.v1.json")


def schema_file(document: str) -> Path:
    """Returns the JSON Schema of a configuration document: ``config`` or ``orchestra-config``."""
    name = f"{document}.schema.json"
    return _first(_PACKAGE / "data" / name, _CHECKOUT / "gen" / "schema" / name)


def console_file(name: str) -> Path:
    """Returns a file of the REST console: ours, or one of Swagger UI."""
    places = (_PACKAGE / "gateway", _PACKAGE / "data" / "console", _CHECKOUT / "gen" / "console")
    return _first(*(place / name for place in places))


def dashboard_file(name: str) -> Path:
    """Returns a file of the dashboard, as `make dashboard` builds it."""
    return _first(_PACKAGE / "data" / "dashboard" / name, _CHECKOUT / "gen" / "dashboard" / name)


def _first(*paths: Path) -> Path:
    return next((path for path in paths if path.exists()), paths[-1])
