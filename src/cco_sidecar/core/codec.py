"""JSON <-> protobuf as the documents show it, compiled once per message type.

The differences to the canonical proto3 JSON mapping (protobuf.dev/programming-guides/json), all of them kept
by golden tests: names are the proto's own (snake_case); numbers are JSON numbers; enums are their lower-case
tail; fields without presence are always written; an unknown key is an error, unless the message has a field
for extras; and what ``orchestra/v1/options.proto`` says of a field or a message.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache, partial
from typing import Any

import orjson
from google.protobuf import message_factory, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import SidecarError, invalid_request
from orchestra.v1 import options_pb2

Encode = Callable[[Any], Any]
Decode = Callable[[Any, str], Any]

# protobuf parsers refuse messages nested deeper than 100; a JSON level costs up to three.
MAX_DEPTH = 32
# Doubles hold integers exactly up to here (IEEE 754).
MAX_EXACT = 2**53

_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_INT_RANGE = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


# -- public ---------------------------------------------------------------------------------------------


def to_dict(message: Message) -> Any:
    """The JSON value of a message, made of dicts, lists and scalars."""
    return _encoder(message.DESCRIPTOR)(message)


def to_json(message: Message | Encoded) -> bytes:
    """The JSON text of a message. An Encoded's is made once and shared by its readers."""
    if not isinstance(message, Encoded):
        return orjson.dumps(_encoder(message.DESCRIPTOR)(message))
    head = message.memo.get("json")
    if head is None:
        head = message.memo["json"] = json_head(message)
    return head if message.tail is None else head[:-1] + json_tail(message)


def json_head(message: Encoded) -> bytes:
    """The JSON of an Encoded's shared part: an object without the keys that ``json_tail`` adds."""
    value = to_dict(message.message_type.FromString(message.wire))
    for name in message.own:
        value.pop(name, None)
    return orjson.dumps(value)


def json_tail(message: Encoded) -> bytes:
    """What closes the JSON of an Encoded: the keys of this one answer, and the brace."""
    value = to_dict(message.tail) if message.tail is not None else {}
    return b"," + orjson.dumps({name: value[name] for name in message.own})[1:]


def from_dict(message_type: type[Message], value: Any, where: str = "") -> Message:
    """A message of a JSON value.

    Raises SidecarError (REQ_001) that names the path, what was there and what would be right.
    """
    return _decoder(message_type.DESCRIPTOR)(value, where)  # type: ignore[no-any-return]


def from_query(message_type: type[Message], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The JSON object of a query string's pairs: text turned into the types of the fields."""
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


def struct_to_dict(struct: struct_pb2.Struct) -> dict[str, Any]:
    return {key: _value_out(struct.fields[key]) for key in sorted(struct.fields)}


def rfc3339(stamp: timestamp_pb2.Timestamp) -> str:
    """UTC with ``Z``, in microseconds when there are any."""
    text = _second(stamp.seconds)
    return f"{text}.{stamp.nanos // 1000:06d}Z" if stamp.nanos else f"{text}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")


def parse_rfc3339(text: str, where: str = "time") -> timestamp_pb2.Timestamp:
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


def rules(field: FieldDescriptor) -> options_pb2.FieldRules:
    """What options.proto says of a field."""
    return field.GetOptions().Extensions[options_pb2.field]  # type: ignore[index]


def is_union(message: Descriptor) -> bool:
    """Written in JSON as the value of its one set field."""
    return bool(message.GetOptions().Extensions[options_pb2.json_union])  # type: ignore[index]


def enum_name(enum: EnumDescriptor, number: int) -> str:
    """``RESULT_STATUS_SUCCESS`` -> ``success``; a number that the proto does not know stays a number."""
    names = _enum_out(enum)
    return names.get(number, str(number))


# -- protobuf -> JSON -----------------------------------------------------------------------------------


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
        if rule.extra:
            extra = field.name
        elif field.has_presence:
            present.append((field.name, _field_encoder(field), rule.nullable))
        else:
            always.append((field.name, _field_encoder(field)))
    order = [field.name for field in descriptor.fields]
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
    """None stands for: the value is JSON as it is."""
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
    if field.cpp_type in _FLOATS:
        return _number_out
    return None


def _lazy_encoder(descriptor: Descriptor) -> Encode:
    """Looks the encoder up when it is used, so that recursive types compile."""
    if descriptor.full_name in _WELL_KNOWN_OUT:
        return _WELL_KNOWN_OUT[descriptor.full_name]
    return lambda message: _encoder(descriptor)(message)


@cache
def _enum_out(enum: EnumDescriptor) -> dict[int, str]:
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix).lower() for value in enum.values}


def _number_out(number: float) -> float | int | None:
    """Whole numbers without a fraction, as JSON's authors write them."""
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) <= MAX_EXACT else number


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


# -- JSON -> protobuf -----------------------------------------------------------------------------------


@cache
def _decoder(descriptor: Descriptor) -> Decode:
    if descriptor.full_name in _WELL_KNOWN_IN:
        return _WELL_KNOWN_IN[descriptor.full_name]
    message_type = message_factory.GetMessageClass(descriptor)
    if is_union(descriptor):
        return _union_decoder(descriptor, message_type)
    extra = next((field.name for field in descriptor.fields if rules(field).extra), None)
    fields = {field.name: field for field in descriptor.fields if field.name != extra}
    decoders = {name: _field_decoder(field) for name, field in fields.items()}

    def decode(value: Any, where: str) -> Message:
        if not isinstance(value, Mapping):
            raise _wrong_type(where or "the body", "an object", value)
        known: dict[str, Any] = {}
        unknown: dict[str, Any] = {}
        for key, item in value.items():
            convert = decoders.get(key)
            if convert is None:
                if extra is None:
                    raise _unknown_key(f"{where}.{key}" if where else key, fields, where or "the body")
                unknown[key] = item
            elif item is not None:
                known[key] = convert(item, f"{where}.{key}" if where else key)
        if unknown:
            known[str(extra)] = _struct_in(unknown, where)
        try:
            return message_type(**known)
        except (ValueError, TypeError) as problem:
            raise invalid_request(f"{where or 'the body'}: {problem}", field=where or None) from None

    return decode


def _union_decoder(descriptor: Descriptor, message_type: type[Message]) -> Decode:
    decoders = [(field, _field_decoder(field)) for field in descriptor.fields]

    def decode(value: Any, where: str) -> Message:
        for field, convert in decoders:
            wanted: type | tuple[type, ...]
            if field.is_repeated:
                wanted = list
            elif field.message_type is not None:
                wanted = dict
            else:
                wanted = str
            if isinstance(value, wanted):
                return message_type(**{field.name: convert(value, where)})
        expected = " or ".join(
            "an array" if f.is_repeated else "an object" if f.message_type else "a string" for f, _ in decoders
        )
        raise _wrong_type(where, expected, value)

    return decode


def _field_decoder(field: FieldDescriptor) -> Decode:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map_decoder(_scalar_decoder(field.message_type.fields_by_name["value"]))
    convert = _scalar_decoder(field)
    if not field.is_repeated:
        return convert

    def decode(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong_type(where, "an array", value)
        return [convert(item, f"{where}[{index}]") for index, item in enumerate(value)]

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
    if field.cpp_type in _FLOATS:
        return _number_in
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _bool_in
    return _text_in


def _enum_decoder(enum: EnumDescriptor) -> Decode:
    numbers = {name: number for number, name in _enum_out(enum).items() if number}
    numbers |= {value.name: value.number for value in enum.values if value.number}
    choices = ", ".join(name for number, name in _enum_out(enum).items() if number)

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
            f"{where}: {str(value)[:40]} is beyond 2^53 and cannot be kept exactly; send it as a string", field=where
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


def _timestamp_in(value: Any, where: str) -> timestamp_pb2.Timestamp:
    return parse_rfc3339(_text_in(value, where), where)


def _struct_in(value: Any, where: str, depth: int = 1) -> struct_pb2.Struct:
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
        return struct_pb2.Value(struct_value=_struct_in(value, where, depth))
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
    """A query parameter's JSON value; the decoder checks it like any other."""
    if field.cpp_type in _INT_RANGE or field.cpp_type in _FLOATS:
        if not _NUMBER.fullmatch(text):
            raise invalid_request(f"{field.name}: {_shown(text)} is not a number", field=field.name)
        return float(text) if "." in text else int(text)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if text.lower() not in {"true", "false", "1", "0", ""}:
            raise invalid_request(f"{field.name}: {_shown(text)} is not true or false", field=field.name)
        return text.lower() in {"true", "1", ""}
    if field.message_type is not None and field.message_type.full_name != "google.protobuf.Timestamp":
        raise invalid_request(f"{field.name} cannot be given in the query; send it in the body", field=field.name)
    return text


def _unknown_key(where: str, fields: Mapping[str, Any], parent: str) -> SidecarError:
    key = where.rpartition(".")[2]
    near = difflib.get_close_matches(key, fields, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; it may hold {', '.join(fields) or 'nothing'}"
    return invalid_request(f"{parent} has no field '{key}'{hint}", field=where)


def _wrong_type(where: str, expected: str, value: Any) -> SidecarError:
    return invalid_request(f"{where}: expected {expected}, got {_shown(value)}", field=where)


def _shown(value: Any) -> str:
    try:
        text = orjson.dumps(value, default=str).decode()
    except TypeError:
        # An integer beyond 64 bits, or text that is no UTF-8.
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
