"""Configuration documents: JSON that people write, read as messages of ``orchestra.v1``."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from google.protobuf.message import Message

from cco_sidecar.core import codec
from cco_sidecar.core.errors import SettingsError, SidecarError
from cco_sidecar.core.validate import validate

M = TypeVar("M", bound=Message)


def parse(data: bytes) -> Any:
    """Parses a JSON file that a person wrote; a byte order mark is skipped.

    Raises ValueError whose text follows the name of the file: for invalid JSON, or a key that an object has twice.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError as problem:
        raise ValueError(f"is not JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}") from problem
    try:
        # orjson takes the last of equal keys.
        return json.loads(data, object_pairs_hook=_unique)
    except RecursionError as problem:
        raise ValueError("is nested too deeply") from problem


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"has the key '{key[:80]}' twice in one object")
        found[key] = value
    return found


def read(message_type: type[M], value: Any, where: str) -> M:
    """Converts a JSON value to a message. ``where`` is its path in the configuration.

    Raises SettingsError with the path, the value found and what was expected.
    """
    try:
        message = codec.from_dict(message_type, without_annotations(value), where)
        assert isinstance(message, message_type)
        validate(message, where)
    except SidecarError as problem:
        # The value could be a secret.
        private = ".environment" in (problem.field or "")
        raise SettingsError(problem.message.partition(", got ")[0] if private else problem.message) from problem
    return message


def read_map(message_type: type[M], value: Any, where: str) -> dict[str, M]:
    """Converts an object whose values are such documents. Raises SettingsError."""
    if not isinstance(value, Mapping):
        raise SettingsError(f"{where}: expected an object, got {value!r}"[:200])
    return {key: read(message_type, each, f"{where}.{key}") for key, each in without_annotations(value).items()}


def without_annotations(value: Any) -> Any:
    """Returns the value without ``$schema`` and ``$comment``, which are for editors and readers."""
    if not isinstance(value, Mapping):
        return value
    return {key: each for key, each in value.items() if not key.startswith("$")}
