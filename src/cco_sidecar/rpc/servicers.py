"""Matches servicers to services by name: ``FooServicer`` implements ``FooService``."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.descriptor import ServiceDescriptor

_SERVICE, _SERVICER = "Service", "Servicer"


def match(services: Sequence[ServiceDescriptor], servicers: Sequence[object]) -> list[tuple[ServiceDescriptor, object]]:
    """Returns each service with its servicer.

    A servicer has one coroutine function or async generator function per RPC, called with (request, principal). Raises
    TypeError that names what is missing, so that the sidecar does not start without it.
    """
    by_name = {type(servicer).__name__: servicer for servicer in servicers}
    matched = []
    for service in services:
        name = service.name.removesuffix(_SERVICE) + _SERVICER
        servicer = by_name.pop(name, None)
        if servicer is None:
            raise TypeError(f"service {service.full_name} has no servicer: add a {name} to _servicers() in app.py")
        for method in service.methods:
            if not callable(getattr(servicer, method.name, None)):
                raise TypeError(
                    f"{type(servicer).__module__}.{name} has no method {method.name} of {service.full_name}"
                )
        matched.append((service, servicer))
    for name, servicer in by_name.items():
        raise TypeError(f"{type(servicer).__module__}.{name} implements no service: no proto declares it")
    return matched
