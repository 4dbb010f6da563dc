"""How a setting is declared: its type, default, place in the config file, flag and help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, NamedTuple

from cco_sidecar.core import converters
from cco_sidecar.core.converters import Convert


class Declared(NamedTuple):
    """How a setting is given. ``file``: section and key of the config file, empty for none; ``shown``: the default as
    docs and help say it; ``schema``: its JSON Schema; ``secret``: no message shows the value."""

    convert: Convert
    help: str
    file: str = ""
    flag: str = ""
    shown: str = ""
    schema: Mapping[str, Any] = {}
    is_number: bool = False
    secret: bool = False


def setting(
    default: Any,
    convert: Convert,
    help_text: str,
    *,
    file: str = "",
    flag: str = "",
    shown: str | None = None,
    schema: Mapping[str, Any] | None = None,
    secret: bool = False,
) -> Any:
    text = shown if shown is not None else "none" if default in (None, ()) else str(default)
    declared = Declared(convert, help_text, file, flag, text, schema or {"type": "string"}, secret=secret)
    if callable(default):
        return field(default_factory=default, metadata={"declared": declared})
    return field(default=default, metadata={"declared": declared})


def integer(
    default: int | None,
    low: int,
    high: int,
    help_text: str,
    *,
    file: str = "",
    flag: str = "",
    shown: str | None = None,
) -> Any:
    schema = {"type": "integer", "minimum": low, "maximum": high}
    text = shown if shown is not None else str(default)
    declared = Declared(converters.integer(low, high), help_text, file, flag, text, schema, is_number=True)
    return field(default=default, metadata={"declared": declared})


def boolean(default: bool, help_text: str, *, file: str, flag: str = "") -> Any:
    shown, schema = str(default).lower(), {"type": "boolean"}
    return setting(default, converters.boolean, help_text, file=file, flag=flag, shown=shown, schema=schema)


def optional_path(help_text: str, *, file: str = "", flag: str = "", shown: str | None = None) -> Any:
    return setting(None, converters.path, help_text, file=file, flag=flag, shown=shown)
