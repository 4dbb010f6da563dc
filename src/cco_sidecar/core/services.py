"""The services of ``orchestra.v1``, read from the descriptors. There is no other list of them."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module

from google.protobuf.descriptor import ServiceDescriptor

import orchestra.v1

PACKAGE = "orchestra.v1"


@cache
def services() -> Sequence[ServiceDescriptor]:
    """Returns the services, sorted by name."""
    modules = [each.name for each in pkgutil.iter_modules(orchestra.v1.__path__) if each.name.endswith("_pb2")]
    found: dict[str, ServiceDescriptor] = {}
    for name in modules:
        found |= import_module(f"{PACKAGE}.{name}").DESCRIPTOR.services_by_name
    return [found[name] for name in sorted(found)]
