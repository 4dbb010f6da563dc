"""Validates requests by the field rules in the protos; compiled once per message type."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cco_sidecar.core import codec
from cco_sidecar.core.bounds import Counter
from cco_sidecar.core.errors import invalid_request
from cco_sidecar.core.ids import is_id
from orchestra.v1 import options_pb2

Check = Callable[[Any, str], None]
ID_SHAPE = "letters, digits, '.', '_' and '-', starting with a letter or a digit, at most 128 characters"


def validate(message: Message, where: str = "") -> None:
    """Raises SidecarError (REQ_001) at the first field that breaks a rule of its proto. ``where``: the path of the
    message."""
    _validator(message.DESCRIPTOR)(message, f"{where}." if where else "")


@cache
def _validator(descriptor: Descriptor) -> Check:
    """Returns a check of a message. Of its fields, only those that are set cost anything."""
    required = [_required(field) for field in descriptor.fields if codec.rules(field).required]
    if codec.is_union(descriptor) and descriptor.oneofs:
        required.append(_one_set(descriptor))
    by_number = {field.number: tuple(_field_checks(field)) for field in descriptor.fields}

    def check_all(message: Any, where: str) -> None:
        for check in required:
            check(message, where)
        for field, value in message.ListFields():
            for check in by_number[field.number]:
                check(value, where)

    return check_all


def _field_checks(field: FieldDescriptor) -> list[Check]:
    """Returns what a field's value must fulfil if it is set."""
    rule = codec.rules(field)
    checks: list[Check] = []
    if rule.max_length:
        checks.append(_longest(field, rule.max_length))
    if rule.choices:
        checks.append(_each(field, _chosen(field, tuple(rule.choices)), empty_too=False))
    if rule.format == options_pb2.FORMAT_ID:
        checks.append(_each(field, _named(field), empty_too=False))
    if codec.refuses_nul(field):
        checks.append(_each(field, _without_nul(field)))
    if rule.HasField("minimum") or rule.HasField("maximum"):
        checks.append(_between(field, rule))
    if field.enum_type is not None:
        checks.append(_each(field, _known(field)))
    nested = field.message_type
    if nested is None:
        if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE and not field.is_repeated:
            checks.append(_finite(field))
    elif nested.GetOptions().map_entry:
        if nested.fields_by_name["value"].cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
            checks.append(_finite_values(field))
        elif (value := nested.fields_by_name["value"].message_type) and value.file.package == "orchestra.v1":
            checks.append(_nested_values(field, value))
    elif nested.full_name in _WELL_KNOWN:
        checks.append(_well_known(field, _WELL_KNOWN[nested.full_name]))
    elif nested.file.package == "orchestra.v1":
        checks.append(_nested(field, nested))
    return checks


def _each(field: FieldDescriptor, check: Check, *, empty_too: bool = True) -> Check:
    """Returns a check of each entry of a repeated field, or of the value of another: then, of an optional one that is
    set to an empty text, only with ``empty_too``."""
    if not field.is_repeated:
        return check if empty_too else lambda value, where: check(value, where) if value else None

    def check_entries(values: Any, where: str) -> None:
        for value in values:
            check(value, where)

    return check_entries


def _required(field: FieldDescriptor) -> Check:
    name, presence = field.name, field.has_presence

    def check(message: Any, where: str) -> None:
        if not (message.HasField(name) if presence else getattr(message, name)):
            raise invalid_request(f"{where}{name} is required", field=where + name)

    return check


def _longest(field: FieldDescriptor, most: int) -> Check:
    name = field.name
    unit = "entries" if field.is_repeated else "characters"

    def check(value: Any, where: str) -> None:
        if len(value) > most:
            raise invalid_request(f"{where}{name} has {len(value)} {unit}; the maximum is {most}", field=where + name)

    return check


def _named(field: FieldDescriptor) -> Check:
    name = field.name

    def check(text: str, where: str) -> None:
        if not is_id(text):
            raise invalid_request(f"{where}{name}: {text[:80]!r} is not a name ({ID_SHAPE})", field=where + name)

    return check


def _chosen(field: FieldDescriptor, choices: tuple[str, ...]) -> Check:
    name = field.name
    expected = ", ".join(choices)

    def check(text: str, where: str) -> None:
        if text not in choices:
            raise invalid_request(f"{where}{name}: {text[:80]!r} is not one of: {expected}", field=where + name)

    return check


def _without_nul(field: FieldDescriptor) -> Check:
    name = field.name

    def check(text: str, where: str) -> None:
        if "\0" in text:
            raise invalid_request(f"{where}{name} contains a NUL character; remove it", field=where + name)

    return check


def _between(field: FieldDescriptor, rule: options_pb2.FieldRules) -> Check:
    name, low, high = field.name, rule.minimum, rule.maximum

    def check(value: float, where: str) -> None:
        if not low <= value <= high:
            limits = f"between {low:.15g} and {high:.15g}"
            raise invalid_request(f"{where}{name}: {value} is not {limits}", field=where + name)

    return check


def _nested(field: FieldDescriptor, nested: Descriptor) -> Check:
    repeated = field.is_repeated
    # In JSON the value of a union stands where the union does.
    label = "" if codec.is_union(field.containing_type) else codec.json_name(field)  # type: ignore[arg-type]

    def check(value: Any, where: str) -> None:
        inner = _validator(nested)
        path = where + label if label else where.removesuffix(".")
        if repeated:
            for index, item in enumerate(value):
                inner(item, f"{path}[{index}].")
        else:
            inner(value, f"{path}.")

    return check


def _nested_values(field: FieldDescriptor, nested: Descriptor) -> Check:
    name = field.name

    def check(values: Any, where: str) -> None:
        for key, value in values.items():
            _validator(nested)(value, f"{where}{name}.{key}.")

    return check


def _one_set(descriptor: Descriptor) -> Check:
    oneof = descriptor.oneofs[0].name
    choices = " or ".join(field.name for field in descriptor.fields)

    def check(message: Any, where: str) -> None:
        if message.WhichOneof(oneof) is None:
            raise invalid_request(f"{where.rstrip('.')}: set {choices}", field=where.rstrip("."))

    return check


def _known(field: FieldDescriptor) -> Check:
    name = field.name
    assert field.enum_type is not None
    numbers = frozenset(field.enum_type.values_by_number)

    def check(number: int, where: str) -> None:
        if number not in numbers:
            raise invalid_request(f"{where}{name}: {number} is not a known value", field=where + name)

    return check


def _finite(field: FieldDescriptor) -> Check:
    name = field.name

    def check(value: float, where: str) -> None:
        if not math.isfinite(value):
            raise invalid_request(f"{where}{name} is not a finite number", field=where + name)

    return check


def _finite_values(field: FieldDescriptor) -> Check:
    name = field.name

    def check(values: Any, where: str) -> None:
        for key, value in values.items():
            if not math.isfinite(value):
                raise invalid_request(f"{where}{name}.{key} is not a finite number", field=where + name)

    return check


def _well_known(field: FieldDescriptor, test: Check) -> Check:
    name = field.name
    return lambda value, where: test(value, where + name)


def _time(stamp: Any, where: str) -> None:
    """Checks the range of timestamp.proto: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z."""
    if not (-62_135_596_800 <= stamp.seconds <= 253_402_300_799 and 0 <= stamp.nanos < 10**9):
        raise invalid_request(f"{where} is not a time between the years 1 and 9999", field=where)


def _struct(struct: Any, where: str) -> None:
    _values(struct.fields.values(), where, Counter(), 2)


def _values(values: Any, where: str, counter: Counter, depth: int) -> None:
    """``depth`` is that of the values: 2 in the outermost object."""
    count = len(values)
    if count and depth > codec.MAX_DEPTH:
        raise invalid_request(f"{where}: nested deeper than {codec.MAX_DEPTH} levels", field=where)
    counter.take(where, count)
    for value in values:
        kind = value.WhichOneof("kind")
        if kind == "struct_value":
            _values(value.struct_value.fields.values(), where, counter, depth + 1)
        elif kind == "list_value":
            _values(value.list_value.values, where, counter, depth + 1)
        elif kind == "number_value" and not math.isfinite(value.number_value):
            raise invalid_request(f"{where} contains a number that is not finite", field=where)


_WELL_KNOWN: dict[str, Check] = {"google.protobuf.Timestamp": _time, "google.protobuf.Struct": _struct}
