"""Entries of the catalogue: as messages, and which of them a search finds."""

from __future__ import annotations

from cco_sidecar.core.agent_types import AgentType
from orchestra.v1.blueprint_service_pb2 import (
    BLUEPRINT_ORIGIN_CONFIGURATION,
    BLUEPRINT_STATUS_ACTIVE,
    Blueprint,
    ListBlueprintsRequest,
)


def of_type(agent_type: AgentType) -> Blueprint:
    """Returns a copy of the type's blueprint, or what the configuration says of the type."""
    shown = Blueprint()
    if agent_type.blueprint is not None:
        shown.CopyFrom(agent_type.blueprint)
    else:
        shown.name = agent_type.type
        shown.description = agent_type.role
        shown.model = agent_type.model
        shown.capabilities.extend(agent_type.capabilities)
        shown.languages.extend(agent_type.languages)
        shown.status = BLUEPRINT_STATUS_ACTIVE
        shown.origin = BLUEPRINT_ORIGIN_CONFIGURATION
    # With the defaults of its group.
    shown.group = agent_type.group
    shown.file_patterns[:] = agent_type.file_patterns
    shown.permissions[:] = agent_type.permissions
    return shown


def matches(entry: Blueprint, wanted: ListBlueprintsRequest) -> bool:
    """Reports whether an entry fulfils all conditions."""
    if wanted.status not in (0, entry.status) or wanted.origin not in (0, entry.origin):
        return False
    if not set(wanted.tags) <= set(entry.tags):
        return False
    texts = (entry.name, entry.description, *entry.tags, *entry.capabilities, *entry.skills)
    text = "\n".join(texts).casefold()
    return all(word in text for word in wanted.query.casefold().split())
