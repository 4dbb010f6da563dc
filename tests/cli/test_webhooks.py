"""`cco webhooks`."""

from __future__ import annotations

import json

from tests.support.commands import fails, misused, printed
from tests.support.receivers import receiving
from tests.support.sidecars import publish, until

from cco_sidecar.client import verify_webhook
from cco_sidecar.testing.process import SidecarProcess, run_cco

PROJECT = ("--project", "project-webhooks")


def test_a_webhook_from_its_creation_to_its_end(sidecar: SidecarProcess) -> None:
    def cco(*line: str) -> str:
        return printed(run_cco(sidecar, "webhooks", *line, *PROJECT))

    with receiving() as receiver:
        made = cco("create", "ci", receiver.url, "--type", "built", "--in-order", "--retry", "60")
        assert made.startswith(f"ci posts to {receiver.url}\nsecret: whsec_")
        secret = made.split()[-1]
        assert cco("test", "ci").startswith("accepted with HTTP 204 after ")
        verify_webhook(secret, receiver.requests[0].headers, receiver.requests[0].body)
        publish(sidecar, "project-webhooks", "built")
        until(lambda: len(receiver.requests) == 2, "the event")
        until(lambda: "1 accepted, 0 failed, 0 in delivery, 0 dead letters" in cco("list"), "the settlement")
        receiver.answer = lambda request: (500, {})
        assert cco("pause", "ci") == "paused ci\n" and "  paused  " in cco("show", "ci")
        assert cco("resume", "ci") == "resumed ci\n"
        fails_with = run_cco(sidecar, "webhooks", "test", "ci", *PROJECT)
        assert fails_with.returncode == 1 and fails_with.stdout.startswith("not accepted: HTTP 500 after ")
        publish(sidecar, "project-webhooks", "built")
        until(lambda: ": HTTP 500" in cco("show", "ci"), "the failure")
        receiver.answer = lambda request: (204, {})
        with receiving() as other:
            assert cco("set-url", "ci", other.url) == f"ci posts to {other.url}\n"
            new = cco("rotate-secret", "ci", "--keep", "0").strip()
            cco("test", "ci")
            verify_webhook(new, other.requests[0].headers, other.requests[0].body)
        (found,) = json.loads(cco("list", "--format", "json"))
        assert found["settings"]["max_in_flight"] == 1 and found["settings"]["event_types"] == ["built"]
    assert cco("delete", "ci") == "deleted ci\n"
    fails(run_cco(sidecar, "webhooks", "show", "ci", *PROJECT), "webhook 'ci' not found")


def test_wrong_usage_is_refused(sidecar: SidecarProcess) -> None:
    line = ("webhooks", "create", "x")
    fails(run_cco(sidecar, *line, "https://elsewhere.example/"), "add it to the setting events.webhook_hosts")
    fails(run_cco(sidecar, *line, "elsewhere"), "must begin with https:// or http://")
    misused(run_cco(sidecar, *line, "http://127.0.0.1/", "--timeout", "61"), "--timeout")
