"""The services of ``orchestra.v1``, read from the descriptors. There is no other list of them."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

import orchestra.v1
from orchestra.v1 import options_pb2
from orchestra.v1.options_pb2 import MODE_STREAM, OPEN_UNSPECIFIED, PERMISSION_OPERATOR, CallRules

PACKAGE = "orchestra.v1"
# Fields that name an owned resource: in a request, each must declare a scope.
_OWNED = frozenset({"project_id", "issue_id", "agent_type", "agent_id"})


@cache
def services() -> Sequence[ServiceDescriptor]:
    """Returns the services, sorted by name. Raises TypeError for an RPC that lacks an option."""
    modules = [each.name for each in pkgutil.iter_modules(orchestra.v1.__path__) if each.name.endswith("_pb2")]
    found: dict[str, ServiceDescriptor] = {}
    for name in modules:
        found |= import_module(f"{PACKAGE}.{name}").DESCRIPTOR.services_by_name
    for service in found.values():
        for method in service.methods:
            require_options(method)
    return [found[name] for name in sorted(found)]


def require_options(method: MethodDescriptor) -> None:
    """Raises TypeError that names the options which the RPC lacks: without them it would be served wrongly, or to the
    wrong callers."""
    missing = list(_missing(method))
    if missing:
        raise TypeError(f"rpc {method.full_name} in {method.containing_service.file.name}: {'; '.join(missing)}")


def _missing(method: MethodDescriptor) -> Iterator[str]:
    call: CallRules = method.GetOptions().Extensions[options_pb2.call]  # type: ignore[index]
    http = method.GetOptions().Extensions[annotations_pb2.http]
    verb = http.WhichOneof("pattern")
    if not verb:
        yield "add its REST route, option (google.api.http)"
    if verb in ("post", "put", "patch") and not http.body:
        yield 'add body: "*" to option (google.api.http), or its JSON body is ignored'
    if not call.permission:
        yield "add permission to option (call), or it is denied to everyone"
    if not 200 <= call.success_code < 300:
        yield "add a success_code from 200 to 299 to option (call)"
    if not call.mode or (call.mode == MODE_STREAM) != method.server_streaming:
        yield "add the mode to option (call): MODE_STREAM if and only if it returns a stream"
    if call.permission != PERMISSION_OPERATOR and call.open == OPEN_UNSPECIFIED:
        for field in _unscoped(method.input_type, "", set()):
            yield f"add a scope to {field} in {method.input_type.name}: declare which values an agent may use"


def _unscoped(message: Descriptor, path: str, seen: set[str]) -> Iterator[str]:
    if message.full_name in seen or not message.full_name.startswith(PACKAGE):
        return
    seen.add(message.full_name)
    for field in message.fields:
        if field.name in _OWNED and not field.GetOptions().Extensions[options_pb2.field].scope:  # type: ignore[index]
            yield path + field.name
        if field.message_type is not None:
            yield from _unscoped(field.message_type, f"{path}{field.name}.", seen)
