"""Converts between JSON and protobuf as documented; compiled once per message type.

Differences from the canonical proto3 JSON mapping (protobuf.dev/programming-guides/json), each covered by golden tests:
names are those of the proto (snake_case); numbers are JSON numbers; enum values lose their prefix and are lower-case;
fields without presence are always written; an unknown key is an error, unless the message has a field for extra keys;
and the field and message options of ``orchestra/v1/options.proto`` apply.
"""

from cco_sidecar.core.codec.decode import from_dict, from_query, parse_rfc3339
from cco_sidecar.core.codec.encode import json_head, rfc3339, struct_to_dict, to_dict, to_json
from cco_sidecar.core.codec.fields import (
    MAX_DEPTH,
    MAX_EXACT,
    enum_name,
    is_lenient,
    is_union,
    json_name,
    refuses_nul,
    rules,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_EXACT",
    "enum_name",
    "from_dict",
    "from_query",
    "is_lenient",
    "is_union",
    "json_head",
    "json_name",
    "parse_rfc3339",
    "refuses_nul",
    "rfc3339",
    "rules",
    "struct_to_dict",
    "to_dict",
    "to_json",
]
