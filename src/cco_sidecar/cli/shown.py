"""Settings as they may be shown: JSON values without secrets."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from cco_sidecar.core import codec
from cco_sidecar.core.hosts import without_user
from cco_sidecar.core.settings import DECLARED
from cco_sidecar.repository import masking

HIDDEN = "[hidden]"
# Their users and passwords are hidden.
_URLS = ("database_url", "bus_url")
# Of these, only parts are hidden.
_SECRETS = {name for name, declared in DECLARED.items() if declared.secret} - {*_URLS, "runners"}


def shown(name: str, value: Any, hide: Set[str] = frozenset()) -> Any:
    """Returns the value of the setting or field ``name``.

    The signing secret, the users in URLs, the values of environments and what looks like a secret are hidden,
    and so are the fields in ``hide``.
    """
    if value and (name in _SECRETS or name in hide):
        return HIDDEN
    if isinstance(value, Message):
        value = codec.to_dict(value)
    match value:
        case Mapping() if name == "environment":
            return dict.fromkeys(value, HIDDEN)
        case Mapping():
            return {key: shown(key, item, hide) for key, item in value.items()}
        case tuple() | list():
            return [shown("", item, hide) for item in value]
        case Path():
            return str(value)
        case str():
            urls = {"database_url": [value], "bus_url": value.split(",")}.get(name)
            return masking.mask(",".join(map(without_user, urls)) if urls else value)
    return value
