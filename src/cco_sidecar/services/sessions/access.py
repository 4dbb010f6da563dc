"""Finds sessions, and decides who may read what happens in them."""

from __future__ import annotations

from cco_sidecar.core.errors import SidecarError, not_found, permission_denied
from cco_sidecar.core.principal import Principal
from cco_sidecar.storage.sessions import SessionStore
from orchestra.v1.session_service_pb2 import (
    SESSION_STATUS_FAILED,
    SESSION_STATUS_FINISHED,
    SESSION_STATUS_STOPPED,
    Session,
)

ENDED = frozenset({SESSION_STATUS_FINISHED, SESSION_STATUS_FAILED, SESSION_STATUS_STOPPED})


async def require(store: SessionStore, project: str, id_or_name: str) -> Session:
    """Returns a session of the project. Raises SidecarError (SES_001)."""
    found = await store.find(project, id_or_name)
    if found is None:
        raise unknown(id_or_name)
    return found


def unknown(id_or_name: str) -> SidecarError:
    return not_found(
        "SES_001",
        f"session '{id_or_name[:128]}' not found; list sessions with 'cco sessions list'",
        session_id=id_or_name,
    )


async def require_readable(store: SessionStore, session: Session, principal: Principal) -> None:
    """Events and results have what an agent reads and writes. Raises SidecarError (AUTH_003)."""
    if principal.operator or principal.architect or principal.subject in (session.agent_id, session.created_by):
        return
    parent = await store.by_id(session.parent_session_id) if session.parent_session_id else None
    if parent is None or parent.agent_id != principal.subject:
        raise permission_denied(
            f"the agent of session '{session.name}', that of its parent, architects and the operator may read this",
            session_id=session.session_id,
        )
