"""Any RPC by its name, over both transports: requests and answers as JSON values.

The RPCs are read from the descriptors of the package `orchestra.v1`, so a new service or RPC is found automatically.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import grpc
import requests
from google.api import annotations_pb2
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor

import orchestra.v1
from cco_sidecar.client.errors import error_of
from cco_sidecar.core import codec
from cco_sidecar.testing.process import Agent, SidecarProcess

# Contract, section 2: equivalent statuses on the two transports.
GRPC_OF = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "FAILED_PRECONDITION",
    500: "INTERNAL",
}
_TIMEOUT = 20.0
# An open stream is closed after its first message.
_ENDLESS = frozenset({"Subscribe", "Consume"})


class Answer(NamedTuple):
    """``status`` is an HTTP status or the name of a gRPC one; ``code`` is an error's code, empty for a success."""

    status: int | str
    code: str
    message: str
    body: Any


class Binding(NamedTuple):
    """One HTTP binding of an RPC."""

    verb: str
    template: str
    body: str

    @property
    def variables(self) -> list[str]:
        return [part[1:-1] for part in self.template.split("/") if part.startswith("{")]


def _methods() -> Iterator[MethodDescriptor]:
    for module in pkgutil.iter_modules(orchestra.v1.__path__):
        if module.name.endswith("_pb2"):
            file = import_module(f"orchestra.v1.{module.name}").DESCRIPTOR
            for service in file.services_by_name.values():
                yield from service.methods


METHODS: dict[str, MethodDescriptor] = {method.name: method for method in _methods()}


def path_of(rpc: str) -> str:
    method = METHODS[rpc]
    return f"/{method.containing_service.full_name}/{method.name}"


def bindings_of(rpc: str) -> list[Binding]:
    rule = METHODS[rpc].GetOptions().Extensions[annotations_pb2.http]
    found = []
    for each in (rule, *rule.additional_bindings):
        verb = each.WhichOneof("pattern")
        assert verb is not None, rpc
        found.append(Binding(verb.upper(), getattr(each, verb), each.body))
    return found


class Transport:
    """``name`` is `grpc`, or an HTTP binding such as `GET /api/agents`."""

    name: str

    def fits(self, request: Mapping[str, Any]) -> bool:
        """Whether this transport can carry the request: it has every field that the path names."""
        raise NotImplementedError

    def status(self, http: int) -> int | str:
        """This transport's equivalent of an HTTP status."""
        raise NotImplementedError

    def call(self, request: Mapping[str, Any], agent: Agent | None, headers: Mapping[str, str] | None = None) -> Answer:
        raise NotImplementedError


class GrpcTransport(Transport):
    def __init__(self, channel: grpc.Channel, rpc: str) -> None:
        self.name = "grpc"
        self._rpc = rpc
        method = METHODS[rpc]
        self._request = message_factory.GetMessageClass(method.input_type)
        kind = ("stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary")
        self._call: Any = getattr(channel, "_".join(kind))(
            path_of(rpc),
            request_serializer=self._request.SerializeToString,
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        self._response_body = METHODS[rpc].GetOptions().Extensions[annotations_pb2.http].response_body

    def fits(self, request: Mapping[str, Any]) -> bool:
        return True

    def status(self, http: int) -> str:
        return "OK" if http < 300 else GRPC_OF[http]

    def call(self, request: Mapping[str, Any], agent: Agent | None, headers: Mapping[str, str] | None = None) -> Answer:
        return self.send(codec.from_dict(self._request, request), agent, headers)

    def raw(self, request: Mapping[str, Any], agent: Agent) -> Any:
        """The message of a unary answer."""
        return self._call(self._request(**request), metadata=agent.metadata, timeout=_TIMEOUT)

    def send(self, message: Any, agent: Agent | None, headers: Mapping[str, str] | None = None) -> Answer:
        """Sends a message as it is, even one that JSON cannot express."""
        metadata = [*(agent.metadata if agent else ()), *(headers or {}).items()]
        sent = iter([message]) if METHODS[self._rpc].client_streaming else message
        try:
            answer = self._call(sent, metadata=metadata, timeout=_TIMEOUT)
            if not METHODS[self._rpc].server_streaming:
                return Answer("OK", "", "", self._value(answer))
            parts = []
            for part in answer:
                parts.append(self._value(part))
                if self._rpc in _ENDLESS:
                    answer.cancel()
                    break
            return Answer("OK", "", "", parts)
        except grpc.RpcError as problem:
            error = error_of(problem)
            return Answer(problem.code().name, error.code, error.message, error.details)

    def _value(self, message: Any) -> Any:
        if isinstance(message, HttpBody):
            return message.data.decode()
        return codec.to_dict(getattr(message, self._response_body) if self._response_body else message)


class RestTransport(Transport):
    def __init__(self, session: requests.Session, url: str, rpc: str, binding: Binding) -> None:
        self.name = f"{binding.verb} {binding.template}"
        self._session = session
        self._url = url
        self._rpc = rpc
        self._binding = binding

    def fits(self, request: Mapping[str, Any]) -> bool:
        return all(request.get(name) for name in self._binding.variables)

    def status(self, http: int) -> int:
        return http

    def call(self, request: Mapping[str, Any], agent: Agent | None, headers: Mapping[str, str] | None = None) -> Answer:
        path, rest = self._binding.template, dict(request)
        for name in self._binding.variables:
            value = rest.pop(name)
            text = ",".join(value) if isinstance(value, list) else value
            path = path.replace(f"{{{name}}}", quote(text, safe=""))
        query, body = ("", json.dumps(rest)) if self._binding.body else (_query(rest), None)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        answer = self._session.request(
            self._binding.verb,
            self._url + path + query,
            data=body,
            headers=sent | (agent.headers if agent else {}) | dict(headers or {}),
            stream=self._rpc in _ENDLESS,
            timeout=_TIMEOUT,
        )
        with answer:
            if answer.status_code >= 300:
                error = answer.json()
                return Answer(answer.status_code, error["code"], error["message"], error)
            if self._rpc in _ENDLESS:
                return Answer(answer.status_code, "", "", next(answer.iter_content(None)).decode())
            if METHODS[self._rpc].server_streaming:
                return Answer(answer.status_code, "", "", [json.loads(line) for line in answer.text.splitlines()])
            if METHODS[self._rpc].output_type is HttpBody.DESCRIPTOR:
                return Answer(answer.status_code, "", "", answer.text)
            return Answer(answer.status_code, "", "", answer.json())


class Transports:
    """Both transports of a sidecar."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self._url = sidecar.url
        self._channel = grpc.insecure_channel(sidecar.target)
        self._session = requests.Session()
        self._session.trust_env = False
        self._grpc: dict[str, GrpcTransport] = {}

    def grpc(self, rpc: str) -> GrpcTransport:
        if rpc not in self._grpc:
            self._grpc[rpc] = GrpcTransport(self._channel, rpc)
        return self._grpc[rpc]

    def rest(self, rpc: str) -> list[RestTransport]:
        return [RestTransport(self._session, self._url, rpc, binding) for binding in bindings_of(rpc)]

    def of(self, rpc: str) -> list[Transport]:
        return [self.grpc(rpc), *self.rest(rpc)]

    def ask(self, rpc: str, agent: Agent | None, /, **request: Any) -> Any:
        """The body of an answer that must be a success."""
        answer = self.grpc(rpc).call(request, agent)
        assert answer.status == "OK", answer
        return answer.body

    def close(self) -> None:
        self._session.close()
        self._channel.close()


def _query(values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    shown = {
        name: str(value).lower() if isinstance(value, bool) else ",".join(value) if isinstance(value, list) else value
        for name, value in values.items()
    }
    return "?" + urlencode(shown)
