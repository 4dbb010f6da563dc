"""Counts and logs calls: failures at info level, the rest at debug level."""

from __future__ import annotations

import logging
import time
from typing import Any

import grpc
import grpc.aio

from cco_sidecar.core import security_log
from cco_sidecar.core.metrics import Metrics
from cco_sidecar.rpc.call import Call
from cco_sidecar.rpc.interceptors.base import SUCCEEDED, Around, Outcome, outcome_of
from orchestra.v1 import options_pb2

log = logging.getLogger("cco_sidecar.access")


class AccessLog(Around):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def succeeded(self, call: Call) -> None:
        self._count(call, SUCCEEDED)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s OK", call.policy.path, extra=_fields(call))

    async def failed(self, call: Call, problem: BaseException, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        outcome = outcome_of(problem, context)
        self._count(call, outcome)
        if not outcome.failed:
            return
        code = context.code()
        if code is grpc.StatusCode.UNAUTHENTICATED:
            security_log.refused("token_refused", rpc=call.policy.path, peer=context.peer(), why=context.details())
        elif code is grpc.StatusCode.PERMISSION_DENIED:
            security_log.refused("call_denied", rpc=call.policy.path, **_fields(call), why=context.details())
        detail = {} if call.policy.rules.confidential else {"detail": context.details()}
        log.info("%s %s", call.policy.path, outcome.status, extra=_fields(call) | detail)

    def _count(self, call: Call, outcome: Outcome) -> None:
        policy = call.policy
        status, failed = outcome
        if policy.rules.mode == options_pb2.MODE_UNARY:
            self._metrics.record(policy.path, status, time.perf_counter() - call.started, failed=failed)
        else:
            self._metrics.record(policy.path, status, None, failed=failed)
            self._metrics.closed(policy.path)
        if call.principal.agent_type:
            self._metrics.seen(call.principal)


def _fields(call: Call) -> dict[str, object]:
    return {
        "request_id": call.request_id,
        "subject": call.principal.subject,
        "project_id": call.principal.project_id,
        **({"trace_id": call.trace.trace_id} if call.trace else {}),
        "milliseconds": round((time.perf_counter() - call.started) * 1000, 3),
    }
