"""JSON Schemas of messages, from the descriptors and their comments: what the codec reads and writes."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from cco_sidecar.bus import filters
from cco_sidecar.core import codec, package_data
from cco_sidecar.core.agent_types import ALWAYS_IN_CONTEXT, REQUIREMENTS
from cco_sidecar.core.ids import ID_PATTERN
from cco_sidecar.core.validate import ID_SHAPE
from orchestra.v1 import options_pb2

# With either alphabet, with or without padding (protobuf.dev, ProtoJSON).
_BASE64 = r"^([A-Za-z0-9+/_-]{4})*([A-Za-z0-9+/_-]{2}(==)?|[A-Za-z0-9+/_-]{3}=?)?$"
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: ("uint32", 0, 2**32 - 1),
}
_NO_NUL = r"^[^\u0000]*$"
# The years of a Timestamp but the first and the last, which an offset could leave.
_YEAR = "(000[2-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])"
_LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_DAY = (
    f"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
# Lower case and a blank for the T are accepted too; generators and validators of ``date-time`` do not know them.
_RFC3339 = f"^{_DAY}T{_CLOCK}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"


class Schemas:
    """Collects in ``found``, by name, the schemas that are referred to. ``at``: the prefix of references; ``comments``:
    leading comments by full name."""

    def __init__(self, comments: dict[str, str], at: str) -> None:
        self._comments = comments
        self._at = at
        self.found: dict[str, Any] = {}

    def reference(self, message: Descriptor, side: str, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The schema of a message, by reference. ``side``: ``Input`` for what is sent, empty for what is answered."""
        known = self._well_known(message.full_name, side)
        if known is not None:
            return known
        if codec.is_union(message):
            return self._union(message, side)
        name = message.name + side if side and not message.name.endswith("Request") else message.name
        if without:
            name = name.replace("Request", "Body")
        if name not in self.found:
            self.found[name] = {}
            self.found[name] = self._object(message, side, without)
        return {"$ref": f"{self._at}{name}"}

    def _object(self, message: Descriptor, side: str, without: frozenset[str]) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        required: list[str] = []
        extra = False
        for field in message.fields:
            rule = codec.rules(field)
            if rule.internal:
                continue
            if rule.extra:
                extra = True
                continue
            schema = self.field(field, side)
            name = rule.json_name or field.name
            if side and not rule.required:
                # In proto3 JSON, null is the same as nothing.
                schema = {"anyOf": [schema, {"type": "null"}]}
            comment = self.comment(field.full_name)
            properties[name] = {**schema, "description": comment} if comment else schema
            if field.name in without:
                # May stand in the body too, as it does in the documents, when it says the same as the path.
                properties[name] = {**properties[name], "readOnly": True}
            present = not field.has_presence or rule.nullable
            if (rule.required if side else present) and field.name not in without:
                required.append(name)
        more: Any = {"$ref": f"{self._at}JsonValue"} if extra else codec.is_lenient(message)
        schema = {"type": "object", "properties": properties, "additionalProperties": more}
        if required:
            schema["required"] = required
        comment = self.comment(message.full_name)
        return {"description": comment, **schema} if comment else schema

    def _union(self, message: Descriptor, side: str) -> dict[str, Any]:
        choices = [self.field(field, side) for field in message.fields]
        return choices[0] if len(choices) == 1 else {"anyOf": choices}

    def field(self, field: FieldDescriptor, side: str) -> dict[str, Any]:
        """The schema of a field's value."""
        rule = codec.rules(field)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = self.scalar(field.message_type.fields_by_name["value"], side)
            return {"type": "object", "additionalProperties": value}
        schema = self.scalar(field, side)
        if field.is_repeated:
            schema = {"type": "array", "items": schema}
            if side and rule.max_length:
                schema["maxItems"] = rule.max_length
            if side and rule.required:
                schema["minItems"] = 1
        elif rule.nullable and not side:
            schema = schema | {"type": [schema["type"], "null"]}
        return schema

    def scalar(self, field: FieldDescriptor, side: str) -> dict[str, Any]:
        """The schema of one of its values."""
        rule = codec.rules(field)
        if field.message_type is not None:
            return self.reference(field.message_type, side)
        if field.enum_type is not None:
            names = [codec.enum_name(field.enum_type, v.number) for v in field.enum_type.values]
            return {"type": "string", "enum": names[1:] if side else names}
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return {"type": "boolean"}
        if field.cpp_type in _INTEGERS:
            name, low, high = _INTEGERS[field.cpp_type]
            low = int(rule.minimum) if rule.HasField("minimum") else low
            high = int(rule.maximum) if rule.HasField("maximum") else high
            return {"type": "integer", "format": name, "minimum": low, "maximum": high}
        if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
            # Beyond 2^53 a double does not hold every integer.
            least = rule.minimum if rule.HasField("minimum") else -codec.MAX_EXACT
            most = rule.maximum if rule.HasField("maximum") else codec.MAX_EXACT
            bounds = {"minimum": least, "maximum": most} if side else {}
            return {"type": "number"} | bounds
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"} | ({"pattern": _BASE64} if side else {})
        if side:
            return _string(field, rule)
        return {"type": "string"} | ({"enum": [*rule.choices]} if rule.choices else {})

    def _well_known(self, name: str, side: str) -> dict[str, Any] | None:
        if name == "google.protobuf.Timestamp":
            schema: dict[str, Any] = {"type": "string", "format": "date-time"}
            if side:
                schema["pattern"] = _RFC3339
            return schema
        if name == "google.protobuf.Value":
            return {"$ref": f"{self._at}JsonValue"}
        if name == "google.protobuf.Struct":
            return {"type": "object", "additionalProperties": {"$ref": f"{self._at}JsonValue"}}
        return None

    def comment(self, full_name: str) -> str:
        return self._comments.get(full_name, "")


def _string(field: FieldDescriptor, rule: options_pb2.FieldRules) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if rule.format == options_pb2.FORMAT_ID:
        optional = "" if rule.required or field.is_repeated else "|^$"
        schema |= {"pattern": f"^{ID_PATTERN}${optional}", "title": ID_SHAPE}
    elif rule.format == options_pb2.FORMAT_FILTER:
        schema["pattern"] = filters.PATTERN
    elif rule.format == options_pb2.FORMAT_CONTEXT_PART:
        schema["pattern"] = rf"^({'|'.join(_context_parts())})$|^[^\u0000]*[*./][^\u0000]*$"
    elif rule.syntax or codec.refuses_nul(field):
        schema["pattern"] = rule.syntax or _NO_NUL
    if rule.choices:
        schema["enum"] = [*rule.choices] if rule.required or field.is_repeated else [*rule.choices, ""]
    if rule.max_length and not field.is_repeated:
        schema["maxLength"] = rule.max_length
    if rule.required:
        schema["minLength"] = 1
    return schema


def _context_parts() -> list[str]:
    document = json.loads(package_data.agent_types_file().read_bytes())
    return sorted({*ALWAYS_IN_CONTEXT, *REQUIREMENTS, *document["fileSets"]})


def comments_of(image: descriptor_pb2.FileDescriptorSet) -> dict[str, str]:
    """Leading comments of services, methods, messages, fields and enums by full name."""
    found: dict[str, str] = {}
    for file in image.file:
        for location in file.source_code_info.location:
            text = " ".join(line.strip() for line in location.leading_comments.splitlines()).strip()
            name = _name_at(file, list(location.path)) if text else None
            if name:
                found[f"{file.package}.{name}"] = text
    return found


def _name_at(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str | None:
    """The element at a source path (descriptor.proto, SourceCodeInfo.Location)."""
    if len(path) not in (2, 4):
        return None
    outer: Any = {4: file.message_type, 5: file.enum_type, 6: file.service}.get(path[0])
    if outer is None:
        return None
    element = outer[path[1]]
    if len(path) == 2:
        return str(element.name)
    if path[0] in (4, 6) and path[2] == 2:
        inner = element.field if path[0] == 4 else element.method
        return f"{element.name}.{inner[path[3]].name}"
    return None
