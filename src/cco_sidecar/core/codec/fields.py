"""What encoder and decoder read from the descriptors."""

from __future__ import annotations

from functools import cache

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from orchestra.v1 import options_pb2

# Protobuf parsers reject messages nested deeper than 100; a JSON level takes up to three.
MAX_DEPTH = 32
# Doubles hold integers exactly up to here (IEEE 754).
MAX_EXACT = 2**53
FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


def rules(field: FieldDescriptor) -> options_pb2.FieldRules:
    """Returns the options of a field (options.proto)."""
    return field.GetOptions().Extensions[options_pb2.field]  # type: ignore[index]


def refuses_nul(field: FieldDescriptor) -> bool:
    """Its strings must not contain NUL characters (options.proto, ``max_length`` and ``no_nul``): no other rule says
    what they must be."""
    rule = rules(field)
    bounded = field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated and bool(rule.max_length)
    return (bounded and not rule.syntax and not rule.format) or bool(rule.no_nul)


def is_union(message: Descriptor) -> bool:
    """Reports whether a message is written in JSON as the value of the one field that is set."""
    return bool(message.GetOptions().Extensions[options_pb2.json_union])  # type: ignore[index]


def is_lenient(message: Descriptor) -> bool:
    """Unknown keys of its JSON are ignored."""
    return bool(message.GetOptions().Extensions[options_pb2.json_lenient])  # type: ignore[index]


def json_name(field: FieldDescriptor) -> str:
    return rules(field).json_name or field.name


def enum_name(enum: EnumDescriptor, number: int) -> str:
    """Converts ``RESULT_STATUS_SUCCESS`` to ``success``. An unknown number is returned in digits."""
    names = enum_names(enum)
    return names.get(number, str(number))


@cache
def enum_names(enum: EnumDescriptor) -> dict[int, str]:
    """Maps numbers to lower-case names without the prefix."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix).lower() for value in enum.values}
