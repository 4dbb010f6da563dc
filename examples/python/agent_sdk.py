"""A complete agent in Python, with the SDK: it reads its context, follows a review, and stores a result.

The SDK reads the agent's environment, refreshes its token, and resumes the subscription after its last event.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from cco_sidecar.client import Client, SidecarError, UnavailableError

T = TypeVar("T")


def retry(call: Callable[[], T]) -> T:
    """Repeats a call that the sidecar was not there to answer, for at most two minutes."""
    give_up = time.monotonic() + 120
    while True:
        try:
            return call()
        except UnavailableError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.2)


def run(client: Client) -> None:
    context = retry(client.context.get).context
    print(f"context: {len(context.relevant_files)} files, {context.ByteSize()} bytes", flush=True)
    started = retry(lambda: publish(client, "implementation_started"))
    comments = 0
    for event in client.events.subscribe(event_types=["review_comment", "review_finished"], since=started):
        if event.event_type == "review_finished":
            break
        comments += 1
        print(f"comment {event.data['number']:.0f}", flush=True)
    result = {
        "status": "success",
        "decisions": ["every comment of the review was handled"],
        "metrics": {"comments": comments, "context_bytes": context.ByteSize()},
    }
    retry(lambda: client.results.create(result, idempotency_key="result"))
    retry(lambda: publish(client, "implementation_complete"))


def publish(client: Client, event_type: str) -> str:
    """Announces something about the issue once, however often the call has to be repeated."""
    key = f"{os.environ['AGENT_ID']} {event_type}"
    return client.events.publish(event_type, topic="implementation", idempotency_key=key).event_id


if __name__ == "__main__":
    try:
        with Client() as sidecar:
            run(sidecar)
    except SidecarError as error:
        sys.exit(f"{error.code}: {error}")
