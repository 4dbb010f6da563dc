"""Writes what derives from the declared settings: the JSON Schemas of the configuration documents, and the table of
docs/configuration.md. Run by `make gen`, which names the image of the protos."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

from cco_sidecar.core.settings import DECLARED, ENVIRONMENT
from cco_sidecar.gateway.schemas import Schemas, comments_of
from orchestra.v1 import config_pb2

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ROOT = Path(__file__).resolve().parent.parent
_TABLE = re.compile(r"(?<=<!-- settings -->\n\n).*?(?=\n<!-- /settings -->)", re.DOTALL)


def main() -> None:
    image = descriptor_pb2.FileDescriptorSet.FromString(Path(sys.argv[1]).read_bytes())
    comments = comments_of(image)
    directory = _ROOT / "gen" / "schema"
    directory.mkdir(exist_ok=True)
    for name, schema in (("config", _config(comments)), ("orchestra-config", _agent_types(comments))):
        text = json.dumps(schema, indent=2, ensure_ascii=False)
        (directory / f"{name}.schema.json").write_text(f"{text}\n")
    page = _ROOT / "docs" / "configuration.md"
    page.write_text(_TABLE.sub(lambda _: _table(), page.read_text()))


def _agent_types(comments: dict[str, str]) -> dict[str, Any]:
    """Of config/orchestra-config.json."""
    made = Schemas(comments, "#/$defs/")
    made.reference(config_pb2.AgentTypesDocument.DESCRIPTOR, "Input")
    document = made.found.pop("AgentTypesDocumentInput")
    return {"$schema": _DIALECT, "title": "Agent types", **_annotated(document), "$defs": made.found}


def _config(comments: dict[str, str]) -> dict[str, Any]:
    """Of ~/.cco/config.json."""
    made = Schemas(comments, "#/$defs/")
    sections: dict[str, Any] = {}
    for declared in DECLARED.values():
        section, _, key = declared.file.partition(".")
        schema = {"description": f"{declared.help}. Default: {declared.shown}.", **_filled(made, declared.schema)}
        if key:
            sections.setdefault(
                section, _annotated({"type": "object", "properties": {}, "additionalProperties": False})
            )
            sections[section]["properties"][key] = schema
        elif section:
            sections[section] = schema
    document = {"type": "object", "properties": sections, "additionalProperties": False}
    return {
        "$schema": _DIALECT,
        "title": "Configuration of the orchestration sidecar",
        **_annotated(document),
        "$defs": made.found,
    }


def _annotated(schema: dict[str, Any]) -> dict[str, Any]:
    """Allows keys that begin with `$`, such as `$schema` and `$comment` (core/documents.py)."""
    return schema | {"patternProperties": {r"^\$": {}}}


def _filled(made: Schemas, schema: Any) -> dict[str, Any]:
    """With the schemas of messages in the place of their names."""
    if name := schema.get("message"):
        referenced = made.reference(getattr(config_pb2, name).DESCRIPTOR, "Input")
        for each in referenced.get("anyOf", [referenced]):
            if target := each.get("$ref", "").rpartition("/")[2]:
                made.found[target] = _annotated(made.found[target])
        return referenced
    return {key: _filled(made, value) if isinstance(value, dict) else value for key, value in schema.items()}


def _table() -> str:
    rows = ["| file key | environment | flag | meaning | default |", "|---|---|---|---|---|"]
    for name, declared in DECLARED.items():
        file, flag = (f"`{text}`" if text else "" for text in (declared.file, declared.flag))
        as_json = " (JSON)" if declared.schema.get("type") == "object" or "message" in declared.schema else ""
        variable = f"`{ENVIRONMENT}{name.upper()}`{as_json}"
        rows.append(f"| {file} | {variable} | {flag} | {declared.help} | {declared.shown} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
