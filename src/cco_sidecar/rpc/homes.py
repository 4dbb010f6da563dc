"""Which sidecar serves a call: the leader, or the one that runs the agent that the call is about."""

from __future__ import annotations

from google.protobuf.message import Message

from cco_sidecar.auth.policy import MethodPolicy
from cco_sidecar.cluster.base import Cluster
from cco_sidecar.core.errors import unavailable
from cco_sidecar.core.principal import Principal
from cco_sidecar.storage.base import Stores
from orchestra.v1 import options_pb2
from orchestra.v1.system_service_pb2 import ClusterMember

# Nobody in particular: it has to be waited for.
NOBODY = ClusterMember()


class Homes:
    """Reads the `home` option of an RPC."""

    def __init__(self, cluster: Cluster, stores: Stores) -> None:
        self._cluster = cluster
        self._stores = stores

    async def of(
        self, home: options_pb2.Home, policy: MethodPolicy, request: Message, principal: Principal
    ) -> ClusterMember | None:
        """Returns the sidecar that serves a call; None for this one, NOBODY while there is none. Raises SidecarError
        (CLU_003) if it is known and does not answer."""
        if home == options_pb2.HOME_LEADER:
            return None if self._cluster.leads else self._cluster.leader() or NOBODY
        if home == options_pb2.HOME_AGENT:
            return await self._of_agent(getattr(request, "agent_id", ""), policy, principal)
        if home == options_pb2.HOME_SESSION:
            return await self._of_session(request, policy, principal)
        if home == options_pb2.HOME_SIDECAR:
            sidecar_id = getattr(request, "sidecar_id", "")
            return self._at(sidecar_id, policy, f"runner '{principal.subject}'")
        return None

    async def _of_agent(self, agent_id: str, policy: MethodPolicy, principal: Principal) -> ClusterMember | None:
        sidecar_id, project = await self._stores.agents.home_of(agent_id) if agent_id else ("", "")
        if not principal.operator and project != principal.project_id:
            # It is not found here, as elsewhere.
            return None
        return self._at(sidecar_id, policy, f"agent '{agent_id}'")

    async def _of_session(self, request: Message, policy: MethodPolicy, principal: Principal) -> ClusterMember | None:
        project, session_id = getattr(request, "project_id", ""), getattr(request, "session_id", "")
        session = await self._stores.sessions.find(project, session_id)
        if session is None or session.external:
            return None
        if session.agent_id:
            return await self._of_agent(session.agent_id, policy, principal)
        return self._at(session.feed.sidecar_id, policy, f"session '{session.name}'")

    def _at(self, sidecar_id: str, policy: MethodPolicy, what: str) -> ClusterMember | None:
        if sidecar_id in ("", self._cluster.sidecar_id):
            return None
        found = self._cluster.find(sidecar_id)
        if found is None and not policy.rules.home_optional:
            raise unavailable("CLU_003", f"{what} is at sidecar {sidecar_id}, which does not answer; retry later")
        return found
