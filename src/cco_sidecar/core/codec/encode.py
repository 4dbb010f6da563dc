"""Protobuf to JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache, partial
from typing import Any

import orjson
from google.protobuf import struct_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cco_sidecar.core.codec.fields import FLOATS, MAX_EXACT, enum_name, is_union, json_name, rules
from cco_sidecar.core.encoded import Encoded

Encode = Callable[[Any], Any]


def to_dict(message: Message) -> Any:
    """Converts a message to a JSON value of dicts, lists and scalars."""
    return _encoder(message.DESCRIPTOR)(message)


def to_json(message: Message | Encoded) -> bytes:
    """Serialises a message as JSON. The shared part of an Encoded is serialised once."""
    if not isinstance(message, Encoded):
        return orjson.dumps(_encoder(message.DESCRIPTOR)(message))
    head = message.memo.get("json")
    if head is None:
        head = message.memo["json"] = json_head(message)
    return head if message.tail is None else head[:-1] + json_tail(message)


def json_head(message: Encoded) -> bytes:
    """Serialises the shared part of an Encoded: an object without the keys that ``json_tail`` adds."""
    value = to_dict(message.message_type.FromString(message.wire))
    for name in message.own:
        value.pop(name, None)
    return orjson.dumps(value)


def json_tail(message: Encoded) -> bytes:
    """Serialises the rest of an Encoded: the keys of this response, and the closing brace."""
    value = to_dict(message.tail) if message.tail is not None else {}
    return b"," + orjson.dumps({name: value[name] for name in message.own})[1:]


def struct_to_dict(struct: struct_pb2.Struct) -> dict[str, Any]:
    fields = struct.fields
    # Keys first: the items of a protobuf map pass through Python code.
    return {key: _value_out(fields[key]) for key in sorted(fields)}


def rfc3339(stamp: timestamp_pb2.Timestamp) -> str:
    """Formats a time in UTC with ``Z``, with microseconds if the time has a fraction."""
    text = _second(stamp.seconds)
    return f"{text}.{stamp.nanos // 1000:06d}Z" if stamp.nanos else f"{text}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")


@cache
def _encoder(descriptor: Descriptor) -> Encode:
    if descriptor.full_name in _WELL_KNOWN_OUT:
        return _WELL_KNOWN_OUT[descriptor.full_name]
    if is_union(descriptor):
        return _union_encoder(descriptor)
    always: list[tuple[str, Encode | None]] = []
    present: list[tuple[str, Encode | None, bool]] = []
    extra = None
    for field in descriptor.fields:
        rule = rules(field)
        if rule.internal:
            continue
        if rule.extra:
            extra = field.name
        elif field.has_presence:
            present.append((field.name, _field_encoder(field), rule.nullable))
        else:
            always.append((field.name, _field_encoder(field)))
    order = [field.name for field in descriptor.fields]
    renamed = {field.name: json_name(field) for field in descriptor.fields if rules(field).json_name}
    ordered = bool(always and present)

    def encode(message: Any) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, convert in always:
            value = getattr(message, name)
            out[name] = value if convert is None else convert(value)
        for name, convert, nullable in present:
            if message.HasField(name):
                value = getattr(message, name)
                out[name] = value if convert is None else convert(value)
            elif nullable:
                out[name] = None
        if ordered:
            out = {name: out[name] for name in order if name in out}
        if renamed:
            out = {renamed.get(name, name): value for name, value in out.items()}
        if extra is not None:
            for key, value in struct_to_dict(getattr(message, extra)).items():
                out.setdefault(key, value)
        return out

    return encode


def _union_encoder(descriptor: Descriptor) -> Encode:
    encoders = {field.name: _field_encoder(field) for field in descriptor.fields}
    only = descriptor.fields[0].name if len(descriptor.fields) == 1 else None
    oneof = None if only else descriptor.oneofs[0].name

    def encode(message: Any) -> Any:
        name = only or message.WhichOneof(oneof)
        if name is None:
            return None
        convert = encoders[name]
        value = getattr(message, name)
        return value if convert is None else convert(value)

    return encode


def _field_encoder(field: FieldDescriptor) -> Encode | None:
    """Returns the encoder of a field; None if its value is already JSON."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        convert = _scalar_encoder(field.message_type.fields_by_name["value"])
        if convert is None:
            return dict
        return partial(_map_out, convert)
    convert = _scalar_encoder(field)
    if not field.is_repeated:
        return convert
    if convert is None:
        return list
    return lambda values: [convert(value) for value in values]


def _map_out(convert: Encode, entries: Mapping[str, Any]) -> dict[str, Any]:
    return {key: convert(entries[key]) for key in sorted(entries)}


def _scalar_encoder(field: FieldDescriptor) -> Encode | None:
    if field.message_type is not None:
        return _lazy_encoder(field.message_type)
    if field.enum_type is not None:
        enum = field.enum_type
        return lambda number: enum_name(enum, number)
    if field.cpp_type in FLOATS:
        return _number_out
    return _bytes_out if field.type == FieldDescriptor.TYPE_BYTES else None


def _lazy_encoder(descriptor: Descriptor) -> Encode:
    """Returns an encoder that is looked up on use, so that recursive types compile."""
    if descriptor.full_name in _WELL_KNOWN_OUT:
        return _WELL_KNOWN_OUT[descriptor.full_name]
    return lambda message: _encoder(descriptor)(message)


def _number_out(number: float) -> float | int | None:
    """Writes integral values without a fraction, and NaN and infinities as null."""
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) <= MAX_EXACT else number


def _bytes_out(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _value_out(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        return _number_out(value.number_value)
    if kind == "struct_value":
        return struct_to_dict(value.struct_value)
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_value_out(item) for item in value.list_value.values]
    return None


_WELL_KNOWN_OUT: dict[str, Encode] = {
    "google.protobuf.Timestamp": rfc3339,
    "google.protobuf.Struct": struct_to_dict,
    "google.protobuf.Value": _value_out,
}
