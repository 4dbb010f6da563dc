"""What a session has answered."""

from __future__ import annotations

import orjson

from cco_sidecar.bus.json_schema import InvalidSchemaError, JsonSchema, joined
from cco_sidecar.core import codec, ids
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.storage.base import Stores
from orchestra.v1.blueprint_service_pb2 import Blueprint
from orchestra.v1.session_service_pb2 import GetSessionResultResponse, Session

_FENCE = "```"


class Results:
    """Reads the results of sessions."""

    def __init__(self, stores: Stores, types: AgentTypes) -> None:
        self._sessions = stores.sessions
        self._results = stores.results
        self._agents = stores.agents
        self._types = types

    async def of(self, session: Session) -> GetSessionResultResponse:
        """Returns the last message of the last run; if there is none, the result that its agent stored. Raises
        SidecarError."""
        found = GetSessionResultResponse(session_id=session.session_id, status=session.status)
        if session.feed.open:
            return found
        found.text = await self._text(session)
        known = self._types.get(session.blueprint)
        blueprint = known.blueprint if known is not None else None
        if blueprint is not None and blueprint.HasField("output_schema") and found.text:
            _add_data(found, blueprint)
        return found

    async def _text(self, session: Session) -> str:
        answered = await self._sessions.last_message(session.session_id)
        if answered is not None:
            return "\n".join(part.text for part in answered.content)
        stored = await self._agents.by_id(session.agent_id) if session.agent_id else None
        if stored is None or not stored.agent.result_id:
            return ""
        resumed = session.last_resumed_at.ToMilliseconds() if session.HasField("last_resumed_at") else 0
        if ids.milliseconds_of(stored.agent.result_id) < resumed:
            # It is of an earlier run.
            return ""
        result = await self._results.by_id(session.project_id, stored.agent.result_id)
        return codec.to_json(result.result.result).decode() if result is not None else ""


def _add_data(found: GetSessionResultResponse, blueprint: Blueprint) -> None:
    """Adds the text as data, or why it is none."""
    try:
        value = orjson.loads(_unfenced(found.text))
    except orjson.JSONDecodeError as problem:
        found.problem = f"the result is not JSON: {problem}"
        return
    if not isinstance(value, dict):
        found.problem = "the result is not a JSON object"
        return
    try:
        mismatch = JsonSchema(codec.struct_to_dict(blueprint.output_schema)).mismatch(value)
    except InvalidSchemaError as problem:
        found.problem = f"the blueprint's output_schema is invalid: {problem}"
        return
    if mismatch is not None:
        found.problem = f"{joined('result', mismatch.path)}{mismatch.said} (output_schema of '{blueprint.name}')"
        return
    found.data.update(value)


def _unfenced(text: str) -> str:
    """Returns the content of a Markdown code block, or the text."""
    text = text.strip()
    if text.startswith(_FENCE) and text.endswith(_FENCE) and "\n" in text:
        return text[: -len(_FENCE)].partition("\n")[2]
    return text
