"""Request validation from the field rules in the protos, compiled once per message type."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cco_sidecar.core import codec
from cco_sidecar.core.errors import invalid_request
from cco_sidecar.core.ids import is_id
from orchestra.v1 import options_pb2

Check = Callable[[Any, str], None]
ID_SHAPE = "letters, digits, '.', '_' and '-', starting with a letter or a digit, at most 128 characters"


def validate(message: Message) -> None:
    """Raises SidecarError (REQ_001) at the first field that breaks a rule of its proto."""
    _validator(message.DESCRIPTOR)(message, "")


@cache
def _validator(descriptor: Descriptor) -> Check:
    checks = [check for field in descriptor.fields for check in _field_checks(field)]

    def check_all(message: Any, where: str) -> None:
        for check in checks:
            check(message, where)

    return check_all


def _field_checks(field: FieldDescriptor) -> list[Check]:
    rule = codec.rules(field)
    checks: list[Check] = []
    if rule.required:
        checks.append(_required(field))
    if rule.max_length:
        checks.append(_longest(field, rule.max_length))
    if rule.format == options_pb2.FORMAT_ID:
        checks.append(_named(field))
    if rule.HasField("minimum") or rule.HasField("maximum"):
        checks.append(_between(field, rule))
    nested = field.message_type
    if nested is not None and nested.file.package == "orchestra.v1" and not nested.GetOptions().map_entry:
        checks.append(_nested(field, nested))
    return checks


def _required(field: FieldDescriptor) -> Check:
    name, presence = field.name, field.has_presence

    def check(message: Any, where: str) -> None:
        if not (message.HasField(name) if presence else getattr(message, name)):
            raise invalid_request(f"{where}{name} is required", field=where + name)

    return check


def _longest(field: FieldDescriptor, most: int) -> Check:
    name = field.name
    unit = "entries" if field.is_repeated else "characters"

    def check(message: Any, where: str) -> None:
        if len(getattr(message, name)) > most:
            size = len(getattr(message, name))
            raise invalid_request(f"{where}{name} has {size} {unit}; the most is {most}", field=where + name)

    return check


def _named(field: FieldDescriptor) -> Check:
    name, repeated = field.name, field.is_repeated

    def check(message: Any, where: str) -> None:
        value = getattr(message, name)
        for text in value if repeated else (value,) if value else ():
            if not is_id(text):
                raise invalid_request(f"{where}{name}: {text[:80]!r} is not a name ({ID_SHAPE})", field=where + name)

    return check


def _between(field: FieldDescriptor, rule: options_pb2.FieldRules) -> Check:
    name, low, high = field.name, rule.minimum, rule.maximum

    def check(message: Any, where: str) -> None:
        if message.HasField(name) and not low <= getattr(message, name) <= high:
            value = getattr(message, name)
            raise invalid_request(f"{where}{name}: {value} is not between {low:g} and {high:g}", field=where + name)

    return check


def _nested(field: FieldDescriptor, nested: Descriptor) -> Check:
    name, repeated = field.name, field.is_repeated

    def check(message: Any, where: str) -> None:
        inner = _validator(nested)
        if repeated:
            for index, item in enumerate(getattr(message, name)):
                inner(item, f"{where}{name}[{index}].")
        elif message.HasField(name):
            inner(getattr(message, name), f"{where}{name}.")

    return check
