"""A complete agent in Python, with the bare stubs: it reads its context, follows the comments of a review, and stores a
result. It keeps on when the sidecar restarts: calls wait for it, and the subscription continues after its cursor.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2

from orchestra.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    context_service_pb2,
    context_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    result_service_pb2,
    result_service_pb2_grpc,
)

T = TypeVar("T")
Metadata = list[tuple[str, str]]

# An agent's token can be exchanged in its last five minutes.
REFRESH_BEFORE_SECONDS = 240


class Agent:
    def __init__(self, channel: grpc.Channel) -> None:
        self.agent_id = os.environ["AGENT_ID"]
        self.agent_type = os.environ["AGENT_TYPE"]
        self.issue_id = os.environ["ISSUE_ID"]
        self.token = os.environ["JWT_TOKEN"]
        self.agents = agent_service_pb2_grpc.AgentServiceStub(channel)
        self.contexts = context_service_pb2_grpc.ContextServiceStub(channel)
        self.events = event_service_pb2_grpc.EventServiceStub(channel)
        self.results = result_service_pb2_grpc.ResultServiceStub(channel)

    def run(self) -> None:
        context = self.retry(self.read_context)
        print(f"context: {len(context.relevant_files)} files, {context.ByteSize()} bytes", flush=True)
        started = self.publish("implementation_started")
        comments = self.follow_review(started)
        result = result_service_pb2.AgentResult(
            status=result_service_pb2.RESULT_STATUS_SUCCESS,
            decisions=["every comment of the review was handled"],
            metrics={"comments": comments, "context_bytes": context.ByteSize()},
        )
        request = result_service_pb2.CreateResultRequest(result=result, idempotency_key="result")
        self.retry(lambda metadata: self.results.CreateResult(request, metadata=metadata))
        self.publish("implementation_complete")

    def read_context(self, metadata: Metadata) -> context_service_pb2.Context:
        """Reads a context of any size; GetContext is limited by the client, by default to 4 MB."""
        request = context_service_pb2.StreamContextRequest(issue_id=self.issue_id, agent_type=self.agent_type)
        context = context_service_pb2.Context()
        for part in self.contexts.StreamContext(request, metadata=metadata):
            context.MergeFrom(part.fragment)
        return context

    def publish(self, event_type: str) -> str:
        """Announces something about the issue once, however often the call has to be repeated."""
        request = event_service_pb2.PublishEventRequest(
            event_type=event_type, topic="implementation", idempotency_key=f"{self.agent_id} {event_type}"
        )
        return self.retry(lambda metadata: self.events.PublishEvent(request, metadata=metadata)).event_id

    def follow_review(self, cursor: str) -> int:
        """Handles each comment after the cursor once, until the review is finished."""
        request = event_service_pb2.SubscribeRequest(event_types=["review_comment", "review_finished"], since=cursor)
        comments = 0

        def follow(metadata: Metadata) -> bool:
            nonlocal comments
            for batch in self.events.Subscribe(request, metadata=metadata):
                if batch.HasField("gap"):
                    raise RuntimeError(f"{batch.gap.missed} events are no longer retained")
                for event in batch.events:
                    if event.event_type == "review_finished":
                        return True
                    comments += 1
                    print(f"comment {event.data['number']:.0f}", flush=True)
                request.since = batch.cursor
            return False

        while not self.retry(follow):
            pass
        return comments

    def retry(self, call: Callable[[Metadata], T]) -> T:
        """Repeats a call that the sidecar was not there to answer, for at most two minutes."""
        give_up = time.monotonic() + 120
        while True:
            try:
                return call(self.authorised())
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > give_up:
                    raise
                time.sleep(0.2)

    def authorised(self) -> Metadata:
        """Returns the metadata of a call, with a token that is still valid for a while."""
        if self.expiry() - time.time() < REFRESH_BEFORE_SECONDS:
            request = agent_service_pb2.RefreshTokenRequest()
            self.token = self.agents.RefreshToken(request, metadata=self.bearer()).jwt_token
        return self.bearer()

    def bearer(self) -> Metadata:
        return [("authorization", f"Bearer {self.token}")]

    def expiry(self) -> float:
        payload = self.token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])


def describe(error: grpc.RpcError) -> str:
    """Adds the sidecar's error code, which REST shows too."""
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return f"{info.reason}: {error.details()}"
    return f"{error.code().name}: {error.details()}"


if __name__ == "__main__":
    with grpc.insecure_channel(os.environ["SIDECAR_GRPC"]) as connection:
        try:
            Agent(connection).run()
        except grpc.RpcError as problem:
            sys.exit(describe(problem))
