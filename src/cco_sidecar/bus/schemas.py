"""JSON Schemas for the data of events, by project and event type."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, NoReturn

import jsonschema_rs
from google.protobuf.struct_pb2 import Struct

from cco_sidecar.bus import quota
from cco_sidecar.core import codec
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request, not_found
from cco_sidecar.core.principal import OPERATOR
from cco_sidecar.storage.event_stores import SchemaStore
from orchestra.v1.schema_service_pb2 import EventSchema

MAX_BYTES = 64 * 1024
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
# Of an error's message, which quotes the value.
_SAID = 160
# Linear in the length of the text, whatever the pattern.
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=2**20)


class EventSchemas:
    """Not thread-safe."""

    def __init__(self, store: SchemaStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._schemas: dict[str, dict[str, EventSchema]] = defaultdict(dict)
        self._validators: dict[tuple[str, str], jsonschema_rs.Validator] = {}
        self._changing = asyncio.Lock()
        self._background = Background()

    async def recover(self) -> None:
        """Loads what is stored. Raises SidecarError."""
        for schema in await self._store.all():
            self._keep(schema, _compiled(schema))

    def of(self, project: str) -> list[EventSchema]:
        """Returns a project's schemas, sorted by event type."""
        known = self._schemas.get(project, {})
        return [known[event_type] for event_type in sorted(known)]

    def find(self, project: str, event_type: str) -> EventSchema:
        """Raises SidecarError (SCM_001) if there is none."""
        schema = self._schemas.get(project, {}).get(event_type)
        if schema is None:
            raise not_found(
                "SCM_001",
                f"event type '{event_type}' has no schema; list them with 'cco schemas list'",
                event_type=event_type,
            )
        return schema

    async def set(self, schema: EventSchema) -> None:
        """Sets a schema, and its time. Runs to completion even if the caller is cancelled. Raises SidecarError: REQ_001
        for an invalid schema, SCM_002 if there are too many."""
        if schema.ByteSize() > MAX_BYTES:
            raise invalid_request(f"schema: it has {schema.ByteSize()} bytes; {MAX_BYTES} are allowed", field="schema")
        await self._background.finish(self._set(schema, _compiled(schema)))

    async def _set(self, schema: EventSchema, validator: jsonschema_rs.Validator) -> None:
        async with self._changing:
            known = self._schemas[schema.project_id]
            if schema.event_type not in known:
                quota.check(list(known), OPERATOR, "schemas", "SCM_002")
            schema.updated_at.CopyFrom(self._clock.timestamp())
            await self._store.put(schema)
            self._keep(schema, validator)

    async def delete(self, project: str, event_type: str) -> None:
        """Runs to completion even if the caller is cancelled. Raises SidecarError (SCM_001)."""
        await self._background.finish(self._delete(project, event_type))

    async def _delete(self, project: str, event_type: str) -> None:
        async with self._changing:
            self.find(project, event_type)
            await self._store.delete(project, event_type)
            del self._schemas[project][event_type]
            del self._validators[project, event_type]

    def check(self, project: str, event_type: str, data: Struct) -> None:
        """Raises SidecarError (EVT_005) that names the first field of ``data`` that does not match the schema of the
        event type, if it has one."""
        validator = self._validators.get((project, event_type))
        if validator is None:
            return
        problems = validator.iter_errors(codec.struct_to_dict(data))
        first = next(problems, None)
        if first is None:
            return
        field = _field(first)
        more = sum(1 for _ in problems)
        also = f"; {more} more do not match either" if more else ""
        raise SidecarError(
            Kind.INVALID_REQUEST,
            "EVT_005",
            f"{field}: {_short(first.message)} (the schema of '{event_type}'{also})",
            field=field,
        )

    def _keep(self, schema: EventSchema, validator: jsonschema_rs.Validator) -> None:
        self._schemas[schema.project_id][schema.event_type] = schema
        self._validators[schema.project_id, schema.event_type] = validator


def _compiled(schema: EventSchema) -> jsonschema_rs.Validator:
    """Raises SidecarError (REQ_001) that says what is wrong with a schema, and where."""
    text: dict[str, Any] = {"$schema": _DRAFT} | codec.struct_to_dict(schema.schema)
    try:
        return jsonschema_rs.validator_for(text, retriever=_refuse, validate_formats=True, pattern_options=_PATTERNS)
    except (jsonschema_rs.ValidationError, ValueError) as problem:
        message = getattr(problem, "message", str(problem))
        path = getattr(problem, "instance_path", [])
        field = _joined("schema", path)
        raise invalid_request(f"{field}: {_short(message)}", field=field) from problem


def _refuse(uri: str) -> NoReturn:
    # Never fetched: a schema could make the sidecar call any address, or read any file.
    raise ValueError(f"{uri[:100]} is outside of the schema")


def _field(problem: jsonschema_rs.ValidationError) -> str:
    """Returns the field that is wrong, such as ``data.files[2].path``; the one that is missing or too much, if that is
    the problem."""
    path = list(problem.instance_path)
    kind = problem.kind.as_dict()
    if problem.kind.name == "required":
        path.append(str(kind["property"]))
    elif problem.kind.name in ("additionalProperties", "unevaluatedProperties"):
        path.append(str(kind["unexpected"][0]))
    return _joined("data", path)


def _joined(top: str, path: list[Any]) -> str:
    return top + "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in path)


def _short(message: str) -> str:
    line = message.partition("\n")[0]
    return line if len(line) <= _SAID else f"{line[: _SAID // 2]} ... {line[-_SAID // 2 :]}"
