"""JSON to protobuf. Errors name the path, the value and what was expected."""

from __future__ import annotations

import base64
import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson
from google.protobuf import message_factory, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from cco_sidecar.core.codec import struct_wire
from cco_sidecar.core.codec.fields import (
    FLOATS,
    MAX_DEPTH,
    MAX_EXACT,
    enum_names,
    is_lenient,
    is_union,
    json_name,
    rules,
)
from cco_sidecar.core.errors import SidecarError, invalid_request
from cco_sidecar.core.suggestions import did_you_mean

Decode = Callable[[Any, str], Any]
# A key that is so like a known one is a typo, and no key of another program.
_TYPO = 0.85

# JSON numbers (RFC 8259, section 6), of bounded length.
_NUMBER = re.compile(r"-?[0-9]{1,18}(?P<real>(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?)")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_INT_RANGE = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_URL_SAFE = str.maketrans("-_", "+/")


def from_dict(message_type: type[Message], value: Any, where: str = "") -> Message:
    """Converts a JSON value to a message. ``where`` is the path of the value, for errors.

    Raises SidecarError (REQ_001) that names the path, the value and what was expected.
    """
    return _decoder(message_type.DESCRIPTOR)(value, where)  # type: ignore[no-any-return]


def from_query(message_type: type[Message], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Converts the pairs of a query string to a JSON object, by the types of the fields.

    Raises SidecarError (REQ_001).
    """
    fields = message_type.DESCRIPTOR.fields_by_name
    out: dict[str, Any] = {}
    for name, text in pairs:
        field = fields.get(name)
        if field is None:
            raise _unknown_key(name, fields, "the query")
        value = _from_text(field, text)  # type: ignore[arg-type]
        if field.is_repeated:
            out.setdefault(name, []).extend(text.split(",") if text else [])
        elif name in out:
            raise invalid_request(f"query parameter '{name}' is given twice", field=name)
        else:
            out[name] = value
    return out


def parse_rfc3339(text: str, where: str = "time") -> timestamp_pb2.Timestamp:
    """Parses a time. Raises SidecarError (REQ_001)."""
    try:
        if not _TIME.fullmatch(text):
            raise ValueError("not RFC 3339")
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid_request(
            f"{where}: {text!r} is not an RFC 3339 time such as 2026-01-31T12:00:00Z", field=where
        ) from None
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(moment)
    return stamp


@cache
def _decoder(descriptor: Descriptor) -> Decode:
    if descriptor.full_name in _WELL_KNOWN_IN:
        return _WELL_KNOWN_IN[descriptor.full_name]
    message_type = message_factory.GetMessageClass(descriptor)
    if is_union(descriptor):
        return _union_decoder(descriptor, message_type)
    extra = next((field.name for field in descriptor.fields if rules(field).extra), None)
    fields = {
        json_name(field): field for field in descriptor.fields if field.name != extra and not rules(field).internal
    }
    decoders = {name: (field.name, _field_decoder(field)) for name, field in fields.items()}
    lenient = is_lenient(descriptor)
    # Of these, one at most may be given. An optional field is the only one of a oneof of its own.
    exclusive = [[field.name for field in each.fields] for each in descriptor.oneofs if len(each.fields) > 1]

    def decode(value: Any, where: str) -> Message:
        if not isinstance(value, Mapping):
            raise _wrong_type(where or "the body", "an object", value)
        known: dict[str, Any] = {}
        unknown: dict[str, Any] = {}
        for key, item in value.items():
            path = f"{where}.{key}" if where else key
            if key in decoders:
                if item is not None:
                    name, convert = decoders[key]
                    known[name] = convert(item, path)
            elif extra is not None:
                unknown[key] = item
            elif not lenient or difflib.get_close_matches(key, fields, n=1, cutoff=_TYPO):
                raise _unknown_key(path, fields, where or "the body")
        if unknown:
            known[str(extra)] = _struct_in(unknown, where)
        for names in exclusive:
            if len(given := [name for name in names if name in known]) > 1:
                path = f"{where}.{given[1]}" if where else given[1]
                raise invalid_request(f"{path}: '{given[0]}' is given as well; send one of them", field=path)
        try:
            return message_type(**known)
        except (ValueError, TypeError) as problem:
            raise invalid_request(f"{where or 'the body'}: {problem}", field=where or None) from None

    return decode


def _union_decoder(descriptor: Descriptor, message_type: type[Message]) -> Decode:
    decoders = [(field.name, _kinds(field), _field_decoder(field)) for field in descriptor.fields]
    expected = " or ".join(dict.fromkeys(_KINDS[kind] for _, kinds, _ in decoders for kind in kinds))

    def decode(value: Any, where: str) -> Message:
        kind = type(value)
        for name, kinds, convert in decoders:
            if kind in kinds:
                return message_type(**{name: convert(value, where)})
        raise _wrong_type(where, expected, value)

    return decode


_KINDS: dict[type, str] = {list: "an array", dict: "an object", str: "a string", int: "an integer"}


def _kinds(field: FieldDescriptor) -> tuple[type, ...]:
    """The JSON types that a field of a union is written in."""
    if field.is_repeated:
        return (list,)
    if field.message_type is not None:
        inner = field.message_type
        return tuple(kind for each in inner.fields for kind in _kinds(each)) if is_union(inner) else (dict,)
    return (int,) if field.cpp_type in _INT_RANGE else (str,)


def _field_decoder(field: FieldDescriptor) -> Decode:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map_decoder(_scalar_decoder(field.message_type.fields_by_name["value"]))
    convert = _scalar_decoder(field)
    if rules(field).secret:
        convert = _secretly(convert, field.name)
    if not field.is_repeated:
        return convert

    def decode(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong_type(where, "an array", value)
        return [convert(item, f"{where}[{index}]") for index, item in enumerate(value)]

    return decode


def _secretly(convert: Decode, name: str) -> Decode:
    """Wraps a decoder so that its errors do not show the value."""

    def decode(value: Any, where: str) -> Any:
        try:
            return convert(value, where)
        except SidecarError:
            raise invalid_request(f"{where}: {name} has the wrong type", field=where) from None

    return decode


def _map_decoder(convert: Decode) -> Decode:
    def decode(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong_type(where, "an object", value)
        return {key: convert(item, f"{where}.{key}") for key, item in value.items()}

    return decode


def _scalar_decoder(field: FieldDescriptor) -> Decode:
    if field.message_type is not None:
        descriptor = field.message_type
        return lambda value, where: _decoder(descriptor)(value, where)
    if field.enum_type is not None:
        return _enum_decoder(field.enum_type)
    if field.cpp_type in _INT_RANGE:
        return _int_decoder(*_INT_RANGE[field.cpp_type])
    if field.cpp_type in FLOATS:
        return _number_in
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _bool_in
    return _bytes_in if field.type == FieldDescriptor.TYPE_BYTES else _text_in


def _enum_decoder(enum: EnumDescriptor) -> Decode:
    numbers = {name: number for number, name in enum_names(enum).items() if number}
    numbers |= {value.name: value.number for value in enum.values if value.number}
    choices = ", ".join(name for number, name in enum_names(enum).items() if number)

    def decode(value: Any, where: str) -> int:
        number = numbers.get(value) if isinstance(value, str) else None
        if number is None:
            raise invalid_request(f"{where}: {_shown(value)} is not one of: {choices}", field=where)
        return number

    return decode


def _int_decoder(low: int, high: int) -> Decode:
    def decode(value: Any, where: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(where, "an integer", value)
        if not low <= value <= high:
            raise invalid_request(f"{where}: {value} is not between {low} and {high}", field=where)
        return value

    return decode


def _number_in(value: Any, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong_type(where, "a number", value)
    if abs(value) > MAX_EXACT:
        raise invalid_request(
            f"{where}: {str(value)[:40]} exceeds 2^53 and would lose precision; send it as a string", field=where
        )
    return float(value)


def _bool_in(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(where, "true or false", value)
    return value


def _text_in(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(where, "a string", value)
    return value


def _bytes_in(value: Any, where: str) -> bytes:
    """Reads base64, with either alphabet (protobuf.dev, ProtoJSON)."""
    text = _text_in(value, where).translate(_URL_SAFE)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise invalid_request(f"{where}: expected base64 (RFC 4648)", field=where) from None


def _timestamp_in(value: Any, where: str) -> timestamp_pb2.Timestamp:
    return parse_rfc3339(_text_in(value, where), where)


def _struct_in(value: Any, where: str) -> struct_pb2.Struct:
    if type(value) is dict:
        with suppress(struct_wire.Unfit):
            return struct_pb2.Struct.FromString(struct_wire.encoded(value))
    return _struct_by_parts(value, where)


def _struct_by_parts(value: Any, where: str, depth: int = 1) -> struct_pb2.Struct:
    """Decodes element by element; slower, but errors name the path."""
    if not isinstance(value, dict):
        raise _wrong_type(where, "an object", value)
    fields = {key: _value_in(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    return struct_pb2.Struct(fields=fields)


def _value_in(value: Any, where: str, depth: int = 1) -> struct_pb2.Value:
    if depth > MAX_DEPTH:
        raise invalid_request(f"{where}: nested deeper than {MAX_DEPTH} levels", field=where.split(".")[0])
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=_number_in(value, where))
    if isinstance(value, dict):
        return struct_pb2.Value(struct_value=_struct_by_parts(value, where, depth))
    if not isinstance(value, list | tuple):
        raise _wrong_type(where, "a JSON value", value)
    items = [_value_in(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))


_WELL_KNOWN_IN: dict[str, Decode] = {
    "google.protobuf.Timestamp": _timestamp_in,
    "google.protobuf.Struct": _struct_in,
    "google.protobuf.Value": _value_in,
}


def _from_text(field: FieldDescriptor, text: str) -> Any:
    """Converts a query parameter to a JSON value. The decoder then checks it like any other value."""
    if field.cpp_type in _INT_RANGE or field.cpp_type in FLOATS:
        number = _NUMBER.fullmatch(text)
        if number is None or not math.isfinite(float(text)):
            raise invalid_request(f"{field.name}: {_shown(text)} is not a number", field=field.name)
        return float(text) if number["real"] else int(text)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if text.lower() not in {"true", "false", "1", "0"}:
            raise invalid_request(f"{field.name}: {_shown(text)} is not true or false", field=field.name)
        return text.lower() in {"true", "1"}
    if field.message_type is not None and field.message_type.full_name != "google.protobuf.Timestamp":
        raise invalid_request(f"{field.name} cannot be given in the query; send it in the body", field=field.name)
    return text


def _unknown_key(where: str, fields: Mapping[str, Any], parent: str) -> SidecarError:
    key = where.rpartition(".")[2]
    hint = did_you_mean(key, fields) or f"; allowed: {', '.join(fields) or 'nothing'}"
    return invalid_request(f"{parent} has no field '{key}'{hint}", field=where)


def _wrong_type(where: str, expected: str, value: Any) -> SidecarError:
    return invalid_request(f"{where}: expected {expected}, got {_shown(value)}", field=where)


def _shown(value: Any) -> str:
    try:
        text = orjson.dumps(value, default=str).decode()
    except TypeError:
        # An integer of more than 64 bits, invalid UTF-8, or too many levels.
        text = repr(value) if isinstance(value, int | str) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
