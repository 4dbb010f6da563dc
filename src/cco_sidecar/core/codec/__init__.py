"""JSON <-> protobuf as the documents show it, compiled once per message type.

The differences to the canonical proto3 JSON mapping (protobuf.dev/programming-guides/json), all of them kept
by golden tests: names are the proto's own (snake_case); numbers are JSON numbers; enums are their lower-case
tail; fields without presence are always written; an unknown key is an error, unless the message has a field
for extras; and what ``orchestra/v1/options.proto`` says of a field or a message.
"""

from cco_sidecar.core.codec.decode import from_dict, from_query, parse_rfc3339
from cco_sidecar.core.codec.encode import json_head, rfc3339, struct_to_dict, to_dict, to_json
from cco_sidecar.core.codec.fields import MAX_DEPTH, MAX_EXACT, enum_name, is_lenient, is_union, json_name, rules

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
    "rfc3339",
    "rules",
    "struct_to_dict",
    "to_dict",
    "to_json",
]
