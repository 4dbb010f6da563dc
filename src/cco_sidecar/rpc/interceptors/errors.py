"""Maps exceptions to a status. The cause is logged and never sent."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc.aio

from cco_sidecar.auth.limits import RateLimited
from cco_sidecar.core.errors import SidecarError, internal
from cco_sidecar.core.status import to_status
from cco_sidecar.rpc.call import Call
from cco_sidecar.rpc.codes import CODES, STATUS_DETAILS
from cco_sidecar.rpc.interceptors.base import Around

log = logging.getLogger(__name__)


class Errors(Around):
    async def failed(self, call: Call, problem: BaseException, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if isinstance(problem, asyncio.CancelledError | GeneratorExit | grpc.aio.AbortError | ConnectionResetError):
            # The last means a client that left while it sent its request.
            return
        if isinstance(problem, SidecarError):
            error = problem
            if problem.__cause__ is not None:
                log.info("%s: %r", problem.message, problem.__cause__, extra={"request_id": call.request_id})
        else:
            log.error("%s failed", call.policy.path, exc_info=problem, extra={"request_id": call.request_id})
            error = internal("INT_001", f"internal error; see the log for request {call.request_id}")
        if isinstance(error, RateLimited):
            call.metadata += error.allowance.headers()
        status = to_status(error, call.request_id)
        # gRPC keeps the exception in a reference cycle. Drop the frames, or they and the request stay in memory until
        # the garbage collector runs.
        _forget_frames(problem)
        trailing = (*call.metadata, (STATUS_DETAILS, status.SerializeToString()))
        await context.abort(CODES[status.code], status.message, trailing)


def _forget_frames(problem: BaseException) -> None:
    """Removes the tracebacks of an exception and of its causes and contexts."""
    waiting: list[BaseException | None] = [problem]
    seen = set[int]()
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            waiting += (each.__cause__, each.__context__)
