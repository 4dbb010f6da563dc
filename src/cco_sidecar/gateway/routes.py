"""Routes from the ``google.api.http`` options of the protos (google/api/http.proto)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from google.api import annotations_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from cco_sidecar.auth.policy import method_path, rules_of
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request, not_found
from orchestra.v1 import options_pb2

_VERBS = ("get", "put", "post", "delete", "patch")


class Route(NamedTuple):
    """One HTTP binding of an RPC. Each of ``segments`` is a literal or ``{field}``."""

    verb: str
    template: str
    segments: tuple[str, ...]
    rpc: str
    method: MethodDescriptor
    request_type: type[Message]
    body: str
    response_body: str
    rules: options_pb2.CallRules

    @property
    def is_http_body(self) -> bool:
        """Whether the response is a body of its own type, not JSON (google/api/httpbody.proto)."""
        return self.method.output_type.full_name == "google.api.HttpBody"

    def variables(self, segments: list[str]) -> dict[str, str] | None:
        """Returns the path variables by field name, or None if the path does not match."""
        found: dict[str, str] = {}
        for wanted, given in zip(self.segments, segments, strict=True):
            if wanted.startswith("{"):
                if not given:
                    return None
                found[wanted[1:-1]] = given
            elif wanted != given:
                return None
        return found


class Routes:
    """All routes, indexed by path. Raises TypeError for templates that cannot be told apart."""

    def __init__(self, services: Iterable[ServiceDescriptor]) -> None:
        self.all: list[Route] = [route for service in services for route in routes_of(service)]
        _require_shapes(self.all)
        self._index: dict[tuple[int, str], list[Route]] = {}
        # Paths without variables, which are most of those that are called often.
        self._literal = {(each.verb, each.template): each for each in self.all if "{" not in each.template}
        # Literal templates first, so that `refresh` in `/api/context/refresh` is not taken for a variable.
        for route in sorted(self.all, key=lambda route: route.template.count("{")):
            self._index.setdefault(_key(route.segments), []).append(route)

    def match(self, verb: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """Returns the route and its variables.

        Raises SidecarError: REQ_002 for an unknown path, REQ_003 for a wrong method, REQ_001 for invalid escapes.
        """
        literal = self._literal.get((verb, raw_path))
        if literal is not None:
            return literal, {}
        try:
            segments = [unquote(part, errors="strict") if "%" in part else part for part in raw_path.split("/")[1:]]
        except UnicodeDecodeError:
            raise invalid_request("invalid path: not UTF-8 after percent-decoding") from None
        allowed: list[str] = []
        template = ""
        for route in self._index.get(_key(segments), ()):
            variables = route.variables(segments)
            # A concrete path takes precedence over templates that also match (OpenAPI 3.1, section 4.8.8.2).
            if variables is None or (template and route.template != template):
                continue
            template = route.template
            if route.verb == ("GET" if verb == "HEAD" else verb):
                return route, variables
            allowed.append(route.verb)
        shown = "/" + "/".join(segments)
        if allowed:
            raise method_not_allowed(verb, shown, allowed)
        raise not_found("REQ_002", f"path '{shown[:200]}' not found; list paths with 'GET /openapi.json'")


def _require_shapes(routes: Iterable[Route]) -> None:
    """OpenAPI 3.1, section 4.8.8.1: templates that differ only in the names of their variables are the same path."""
    by_shape: dict[str, Route] = {}
    for route in routes:
        shape = "/".join("{}" if each.startswith("{") else each for each in route.segments)
        other = by_shape.setdefault(shape, route)
        if other.template != route.template:
            raise TypeError(
                f"rpc {route.method.full_name}: {route.template} has the shape of {other.template} of "
                f"{other.method.full_name}; name the variables alike, or choose another path"
            )


def _key(segments: Sequence[str]) -> tuple[int, str]:
    """Returns the index key of a path. No template has a variable in its first two segments."""
    return len(segments), "/".join(segments[:2])


def method_not_allowed(verb: str, path: str, allowed: list[str]) -> SidecarError:
    return SidecarError(
        Kind.METHOD_NOT_ALLOWED,
        "REQ_003",
        f"{verb} is not allowed on '{path[:200]}'; use {' or '.join(sorted(set(allowed)))}",
        details={"allowed": sorted(set(allowed))},
    )


def routes_of(service: ServiceDescriptor) -> list[Route]:
    """Returns the routes of a service, in the order of its proto."""
    found = []
    for method in service.methods:
        main = method.GetOptions().Extensions[annotations_pb2.http]
        for rule in (main, *main.additional_bindings):
            verb = rule.WhichOneof("pattern")
            if verb not in _VERBS:
                continue
            template = getattr(rule, verb)
            found.append(
                Route(
                    verb.upper(),
                    template,
                    tuple(template.split("/")[1:]),
                    method_path(method),
                    method,
                    message_factory.GetMessageClass(method.input_type),
                    rule.body,
                    rule.response_body,
                    rules_of(method),
                )
            )
    return found
