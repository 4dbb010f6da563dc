"""Closed sets of strings in responses: the protos name what the code produces."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from cco_sidecar.core import codec
from cco_sidecar.core.principal import PUBLISH_EVENTS, READ_CONTEXT, SPAWN_AGENTS, WRITE_RESULTS
from cco_sidecar.repository import metadata
from cco_sidecar.runners.presets import COMMAND, PRESETS
from orchestra.v1.agent_service_pb2 import Agent, AgentType
from orchestra.v1.context_service_pb2 import Metadata


@pytest.mark.parametrize(
    ("message_type", "field", "produced"),
    [
        (Agent, "runner", {*PRESETS, COMMAND}),
        (AgentType, "permissions", {READ_CONTEXT, WRITE_RESULTS, PUBLISH_EVENTS, SPAWN_AGENTS}),
        (Metadata, "project_type", {*metadata.PROJECT_TYPES.values(), "mixed"}),
    ],
)
def test_the_protos_name_each_value(message_type: type[Message], field: str, produced: set[str]) -> None:
    assert set(codec.rules(message_type.DESCRIPTOR.fields_by_name[field]).choices) == produced
