"""Finds the sidecar that serves a call, and passes the call on to it."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.message import Message
from google.rpc import status_pb2

from cco_sidecar.auth.passes import HEADER, PROOF, Passes
from cco_sidecar.auth.policy import method_path
from cco_sidecar.cluster.base import Cluster
from cco_sidecar.core.errors import Kind, SidecarError, unavailable
from cco_sidecar.core.services import services
from cco_sidecar.core.status import from_status
from cco_sidecar.rpc.call import Call
from cco_sidecar.rpc.codes import STATUS_DETAILS
from cco_sidecar.rpc.homes import Homes
from cco_sidecar.rpc.peers import Peers
from orchestra.v1 import options_pb2
from orchestra.v1.system_service_pb2 import ClusterMember

# For how long a call is made again: in less, a lost leader is followed by another.
_PATIENCE_SECONDS = 20.0
_WATCH_SECONDS = 1.0
# Two signs of life.
_RETURN_SECONDS = 2.0
_CONNECT_SECONDS = 1.0
_LOOK_SECONDS = 0.5
# Errors of a sidecar that has done nothing: the call is made again.
_UNDONE = frozenset({"CLU_001", "CLU_002"})


class Forwarding:
    """Calls of other sidecars. Nothing is called twice unless the first call surely did nothing."""

    def __init__(self, cluster: Cluster, homes: Homes, peers: Peers, passes: Passes) -> None:
        self.passes = passes
        self._cluster = cluster
        self._homes = homes
        self._peers = peers
        self._responses = {
            method_path(method): message_factory.GetMessageClass(method.output_type)
            for service in services()
            for method in service.methods
        }

    async def close(self) -> None:
        """Closes the connections."""
        await self._peers.close()

    @staticmethod
    def deadline() -> float:
        """Until when a call that comes in now is made again, as a time of the loop."""
        return asyncio.get_running_loop().time() + _PATIENCE_SECONDS

    async def target(self, call: Call, request: Message, until: float) -> ClusterMember | None:
        """Returns the other sidecar that serves a call; None if this one does. Waits ``until`` a time of the loop while
        there is none. Raises SidecarError: CLU_002 if nobody leads, CLU_003 if the sidecar of an agent does not
        answer."""
        home, now = call.policy.rules.home, asyncio.get_running_loop().time
        back_by = now() + _RETURN_SECONDS
        while True:
            try:
                found = await self._homes.of(home, call.policy, request, call.principal)
            except SidecarError:
                # It may just have come back.
                if call.via or now() >= back_by:
                    raise
            else:
                if found is None:
                    return None
                if not call.via and found.sidecar_id and found.sidecar_id != self._cluster.sidecar_id:
                    return found
                # Nobody leads, or the lead has just begun or ended here.
                if call.via or now() >= until:
                    raise nobody_leads()
            await self._cluster.changed(_LOOK_SECONDS)

    def may_repeat(self, problem: SidecarError, call: Call, until: float) -> bool:
        """Whether a call can be made again: the other sidecar surely did nothing, or the call changes nothing."""
        undone = problem.code in _UNDONE or (problem.code == "CLU_004" and call.policy.reads)
        return undone and not call.via and asyncio.get_running_loop().time() < until

    async def unary(self, call: Call, request: Message, member: ClusterMember) -> Any:
        """Returns the answer of another sidecar. Raises its SidecarError; CLU_004 if it does not answer."""
        channel = await self._channel(call, member)
        ask = channel.unary_unary(
            call.policy.path,
            request_serializer=_bytes,
            response_deserializer=self._responses[call.policy.path].FromString,
        )
        metadata, nonce = self._metadata(call, member)
        asked = ask(request, metadata=metadata)
        try:
            async with self._watched(asked, member):
                await self._require_proof(asked, nonce, member)
                return await asked
        except grpc.aio.AioRpcError as problem:
            raise _error_of(problem, member) from None

    async def stream(self, call: Call, request: Message, member: ClusterMember) -> AsyncGenerator[Any, None]:
        """Yields the answers of another sidecar. Raises as ``unary`` does."""
        channel = await self._channel(call, member)
        ask = channel.unary_stream(
            call.policy.path,
            request_serializer=_bytes,
            response_deserializer=self._responses[call.policy.path].FromString,
        )
        metadata, nonce = self._metadata(call, member)
        answers = ask(request, metadata=metadata)
        try:
            async with self._watched(answers, member):
                await self._require_proof(answers, nonce, member)
                async for answer in answers:
                    yield answer
        except grpc.aio.AioRpcError as problem:
            raise _error_of(problem, member) from None
        finally:
            answers.cancel()

    @asynccontextmanager
    async def _watched(self, asked: Any, member: ClusterMember) -> AsyncIterator[None]:
        """Gives a call up when the other sidecar shows no sign of life: it may hang. Raises SidecarError (CLU_004)."""
        gone = False

        async def watch() -> None:
            nonlocal gone
            while not gone:
                await asyncio.sleep(_WATCH_SECONDS)
                gone = self._cluster.find(member.sidecar_id) is None
            asked.cancel()

        watching = asyncio.create_task(watch(), name="a call of another sidecar")
        try:
            yield
        except asyncio.CancelledError:
            # Of the call, or of the caller.
            if not gone:
                raise
            raise _ended(member) from None
        finally:
            watching.cancel()
            if not asked.done():
                asked.cancel()

    async def _channel(self, call: Call, member: ClusterMember) -> grpc.aio.Channel:
        """Raises SidecarError (CLU_002) if there is no connection: nothing was sent."""
        channel = self._peers.channel(member, waits=call.policy.rules.mode != options_pb2.MODE_UNARY)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await channel.channel_ready()
        except TimeoutError:
            raise unavailable(
                "CLU_002", f"sidecar {member.sidecar_id} ({member.address}), which serves this call, is not reachable"
            ) from None
        return channel

    async def _require_proof(self, asked: Any, nonce: str, member: ClusterMember) -> None:
        """Believes nobody who only listens on the address of a sidecar. Raises SidecarError (CLU_002)."""
        told = dict(await asked.initial_metadata() or ())
        if not hmac.compare_digest(str(told.get(PROOF, "")), self.passes.proof(nonce)):
            asked.cancel()
            raise unavailable(
                "CLU_002", f"whoever answers at {member.address} does not prove to be sidecar {member.sidecar_id}"
            )

    def _metadata(self, call: Call, member: ClusterMember) -> tuple[tuple[tuple[str, str], ...], str]:
        """Returns what is sent, without the caller's token, and the nonce of the pass."""
        caller = call.principal if call.token else None
        given, nonce = self.passes.make(member.sidecar_id, call.policy.path, caller)
        sent = [(HEADER, given), ("x-request-id", call.request_id)]
        if call.trace is not None:
            sent.append(("traceparent", call.trace.traceparent))
        return tuple(sent), nonce


def nobody_leads() -> SidecarError:
    """Returns the error (CLU_002) while there is no leader."""
    return unavailable("CLU_002", "no sidecar leads the others at the moment; retry")


def _bytes(request: Message) -> bytes:
    return request.SerializeToString()


def _ended(member: ClusterMember) -> SidecarError:
    return unavailable(
        "CLU_004",
        f"sidecar {member.sidecar_id} ({member.address}) ended, or stands still, while it served this call; check "
        "whether it was done before you retry",
    )


def _error_of(problem: grpc.aio.AioRpcError, member: ClusterMember) -> SidecarError:
    for key, value in problem.trailing_metadata() or ():
        if key == STATUS_DETAILS and isinstance(value, bytes):
            return from_status(status_pb2.Status.FromString(value))
    code = problem.code()
    if code is grpc.StatusCode.UNAVAILABLE:
        return _ended(member)
    kind = next((kind for kind in Kind if kind.grpc_code == code.value[0]), Kind.INTERNAL)
    return SidecarError(kind, "INT_001", problem.details() or code.name)
