"""`cco events publish|subscribe|list`."""

from __future__ import annotations

import csv
import io
import json
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from tests.support.commands import (
    NO_MESSAGES,
    fails,
    in_process,
    misused,
    printed,
    publish,
    when_subscribed,
)

from cco_sidecar.testing.process import SidecarProcess, run_cco


def test_publish_and_list_as_in_the_quick_start(sidecar: SidecarProcess) -> None:
    done = printed(run_cco(sidecar, "events", "publish", "--type", "custom_event", "--topic", "testing"))
    assert done.startswith("published evt-") and " on testing to 0 subscribers" in done
    assert "  custom_event  testing  operator  {}\n" in printed(run_cco(sidecar, "events", "list", "--limit", "20"))
    assert printed(run_cco(sidecar, "events", "list", "--topic", "testing", "--limit", "20"))


def test_the_type_may_be_an_argument(sidecar: SidecarProcess) -> None:
    assert printed(run_cco(sidecar, "events", "publish", "as_argument", "--topic", "testing")).startswith("published")
    assert "as_argument" in printed(run_cco(sidecar, "events", "list", "--type", "as_argument"))
    misused(
        run_cco(sidecar, "events", "publish", "one", "--type", "another"), "two types: one and --event-type another"
    )


def test_publish_with_every_option(sidecar: SidecarProcess) -> None:
    done = run_cco(
        sidecar, "events", "publish", "--type", "full_event", "--topic", "deployment",
        "--data", '{"issue_id": "issue-1", "n": 5, "żółw": "🐢"}', "--correlation-id", "session-1", "--ttl", "600",
        "--priority", "high", "--publisher", "agent-1", "--project", "project-abc", "--format", "json",
    )  # fmt: skip
    published = json.loads(printed(done))
    assert published["published"] is True and published["ttl_seconds"] == 600
    line = ("events", "list", "--type", "full_event", "--project", "project-abc", "--format", "json")
    (event,) = json.loads(printed(run_cco(sidecar, *line, "--correlation-id", "session-1")))
    assert event["event_id"] == published["event_id"] and event["publisher"] == "agent-1"
    assert event["data"] == {"issue_id": "issue-1", "n": 5, "żółw": "🐢"}


@pytest.mark.parametrize("stdin", [False, True])
def test_publish_a_documented_body(sidecar: SidecarProcess, tmp_path: Path, stdin: bool) -> None:
    body = {
        "event_type": f"input_{stdin}",
        "publisher": "agent-1",
        "topic": "architecture",
        "data": {"decision": "Use gRPC"},
        "correlation_id": "session-2",
        "ttl_seconds": 60,
        "priority": "low",
    }
    source = tmp_path / "event.json"
    source.write_text(json.dumps(body))
    if stdin:
        done = run_cco(sidecar, "events", "publish", "--input", "-", input=source.read_text())
    else:
        done = run_cco(sidecar, "events", "publish", "--input", str(source))
    assert " on architecture " in printed(done)
    line = ("events", "list", "--type", body["event_type"], "--format", "json")
    (event,) = json.loads(printed(run_cco(sidecar, *map(str, line))))
    assert {name: event[name] for name in ("publisher", "topic", "data", "correlation_id")} == {
        name: body[name] for name in ("publisher", "topic", "data", "correlation_id")
    }


def test_an_option_changes_what_the_file_says(sidecar: SidecarProcess) -> None:
    body = json.dumps({"event_type": "in_the_file", "topic": "testing", "data": {"n": 1}})
    line = ("--event-type", "as_said", "--topic", "security", "--format", "json")
    said = json.loads(printed(run_cco(sidecar, "events", "publish", "--input", "-", *line, input=body)))
    assert said["topic"] == "security"
    listed = printed(run_cco(sidecar, "events", "list", "--event-type", "as_said", "--format", "json"))
    (event,) = json.loads(listed)
    assert (event["event_id"], event["data"]) == (said["event_id"], {"n": 1})


def test_a_body_whose_data_is_null(sidecar: SidecarProcess) -> None:
    body = {"event_type": "no_data", "data": None}
    assert sidecar.request("POST", "/api/events/no_data", sidecar.operator, json=body).status_code == 202
    printed(run_cco(sidecar, "events", "publish", "--input", "-", input=json.dumps(body)))


def test_list_in_every_format(sidecar: SidecarProcess, tmp_path: Path) -> None:
    ids = [publish(sidecar, "listed", n=n) for n in range(4)]
    line = ("events", "list", "--type", "listed")
    as_json = json.loads(printed(run_cco(sidecar, *line, "--format", "json")))
    assert [event["event_id"] for event in as_json] == ids
    assert [event["data"]["n"] for event in as_json] == [0, 1, 2, 3]
    assert yaml.safe_load(printed(run_cco(sidecar, *line, "--format", "yaml"))) == as_json
    table = list(csv.DictReader(io.StringIO(printed(run_cco(sidecar, *line, "--format", "csv")))))
    assert [(row["event_id"], json.loads(row["data"])) for row in table] == [
        (event["event_id"], event["data"]) for event in as_json
    ]
    drawn = printed(run_cco(sidecar, *line, "--format", "table")).splitlines()
    assert drawn[0].split() == list(table[0]) and len(drawn) == 5
    target = tmp_path / "events.json"
    printed(run_cco(sidecar, *line, "--output", str(target)))
    assert json.loads(target.read_text()) == as_json
    newest = json.loads(printed(run_cco(sidecar, *line, "--limit", "2", "--format", "json")))
    assert [event["event_id"] for event in newest] == ids[2:]
    assert printed(run_cco(sidecar, "events", "list", "--type", "never")) == "no events\n"


def test_a_list_starts_at_since(sidecar: SidecarProcess) -> None:
    ids = [publish(sidecar, "since", n=n) for n in range(3)]
    line = ("events", "list", "--type", "since", "--format", "json")
    listed = json.loads(printed(run_cco(sidecar, *line)))
    for since, expected in (
        (ids[0], ids[1:]),
        ("0", ids),
        ("10m", ids),
        (listed[0]["timestamp"], ids[1:]),
        ("2100-01-01T00:00:00Z", []),
    ):
        found = json.loads(printed(run_cco(sidecar, *line, "--since", since)))
        assert [event["event_id"] for event in found][-len(expected) or None :] == expected, since


def test_subscribe_as_in_the_quick_start(sidecar: SidecarProcess) -> None:
    began = time.monotonic()
    line = ("events", "subscribe", "--topic", "testing", "--timeout", "30")
    done = when_subscribed(sidecar, lambda: publish(sidecar, "awaited", n=1), *line)
    assert printed(done).endswith('  awaited  testing  operator  {"n":1}\n')
    assert done.stdout.count("\n") == 1
    assert time.monotonic() - began < 25


@pytest.mark.parametrize(("timeout", "least"), [("1", 1.0), ("1200", 1.2)])
def test_timeout_below_1000_means_seconds(sidecar: SidecarProcess, timeout: str, least: float) -> None:
    began = time.monotonic()
    done = run_cco(sidecar, "events", "subscribe", "never", "--timeout", timeout)
    assert printed(done) == "" and done.stderr == "timed out without events\n"
    assert least <= time.monotonic() - began < 10


def test_subscribe_to_a_type_until_the_limit(sidecar: SidecarProcess) -> None:
    def act() -> None:
        for n in range(4):
            publish(sidecar, "ignored", n=n)
            publish(sidecar, "wanted", n=n)

    line = ("events", "subscribe", "wanted", "--limit", "3", "--timeout", "30", "--format", "json")
    lines = printed(when_subscribed(sidecar, act, *line)).splitlines()
    assert [json.loads(text)["data"]["n"] for text in lines] == [0, 1, 2]


def test_subscribe_since(sidecar: SidecarProcess) -> None:
    ids = [publish(sidecar, "replayed", n=n) for n in range(3)]
    line = ("events", "subscribe", "replayed", "--timeout", "5", "--format", "json", "--limit", "2")
    for since, expected in ((ids[0], ids[1:]), ("0", ids[:2]), ("10m", ids[:2])):
        lines = printed(run_cco(sidecar, *line, "--since", since)).splitlines()
        assert [json.loads(text)["event_id"] for text in lines] == expected, since


def test_subscribe_with_a_filter(sidecar: SidecarProcess) -> None:
    before = publish(sidecar, "filtered", issue_id="issue-1", coverage=95)
    publish(sidecar, "filtered", issue_id="issue-2", coverage=95)
    publish(sidecar, "filtered", issue_id="issue-1", coverage=80)
    publish(sidecar, "filtered", issue_id="issue-1", coverage=91)
    line = ("events", "subscribe", "filtered", "--since", before, "--timeout", "5", "--format", "json")
    lines = printed(run_cco(sidecar, *line, "--filter", "issue_id:issue-1,coverage:>90")).splitlines()
    assert [json.loads(text)["data"]["coverage"] for text in lines] == [91]


def test_subscribe_continuously(sidecar: SidecarProcess) -> None:
    before = publish(sidecar, "flowing", n=0)
    for n in range(1, 4):
        publish(sidecar, "flowing", n=n)
    line = ("events", "subscribe", "flowing", "--continuous", "--since", before, "--limit", "3")
    lines = printed(run_cco(sidecar, *line)).splitlines()
    assert [text.rpartition("  ")[2] for text in lines] == ['{"n":1}', '{"n":2}', '{"n":3}']


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["events", "publish", "--type", "a type"], "event_type: 'a type' is not a name"),
        (["events", "publish", "--input", "/tmp"], "cannot read /tmp"),
        (["events", "subscribe", "--filter", "issue_id==issue-1", "--timeout", "1"], "write issue_id:issue-1"),
        (["events", "list", "--since", "evt-1"], "[EVT_002]"),
    ],
)
def test_an_error_is_one_clear_line(sidecar: SidecarProcess, line: list[str], says: str) -> None:
    fails(run_cco(sidecar, *line), says)


@pytest.mark.parametrize(("text", "says"), NO_MESSAGES)
def test_invalid_input(sidecar: SidecarProcess, text: str, says: str) -> None:
    fails(run_cco(sidecar, "events", "publish", "--input", "-", input=text), says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["events", "lst"], "lst"),
        (["events", "list", "--limt", "5"], "--limit"),
        (["events", "publish", "--topic", "testing"], "--event-type"),
        (["events", "publish", "--type", "x", "--data", "issue=1"], "invalid JSON in --data"),
        (["events", "publish", "--type", "x", "--data", "[1]"], "--data must be a JSON object"),
        (["events", "publish", "--type", "x", "--ttl", "86401"], "--ttl"),
        (["events", "publish", "--type", "x", "--priority", "urgent"], "urgent"),
        (["events", "subscribe", "--timeout", "30s"], "--timeout"),
        (["events", "subscribe", "--format", "csv"], "--format"),
        (["events", "list", "--since", "yesterday"], "--since"),
        (["events", "list", "--since", "2025-11-17"], "--since"),
        (["events", "list", "--since", "99999999d"], "--since"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process(*line), says)


def test_bad_usage_changes_nothing(sidecar: SidecarProcess) -> None:
    misused(run_cco(sidecar, "events", "publish", "--type", "unsaid", "--format", "csv"), "csv")
    assert printed(run_cco(sidecar, "events", "list", "--type", "unsaid")) == "no events\n"


def test_the_tree_shows_what_caused_what(sidecar: SidecarProcess) -> None:
    def published(*options: str) -> str:
        line = ("events", "publish", "--type", "step", "--project", "project-tree", "--format", "json")
        return str(json.loads(printed(run_cco(sidecar, *line, *options)))["event_id"])

    root = published()
    first, second = published("--causation-id", root), published("--causation-id", root)
    leaf = published("--causation-id", first)
    published()
    trees = {printed(run_cco(sidecar, "events", "tree", each, "--project", "project-tree")) for each in (root, leaf)}
    assert len(trees) == 1
    lines = trees.pop().splitlines()
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 2, 4, 2]
    assert second != first
    fails(run_cco(sidecar, "events", "tree", "nothing", "--project", "project-tree"), "no retained event")


def test_a_replay_keeps_the_pauses(sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        publish(sidecar, "replayed_in_time", issue_id="issue-replay")
    pauses: list[float] = []
    monkeypatch.setattr("cco_sidecar.cli.events.time.sleep", pauses.append)
    found = {
        "SIDECAR_URL": sidecar.url,
        "CCO_SIDECAR_STORAGE": str(sidecar.storage),
        "HOME": str(sidecar.storage.parent),
    }
    line = ("events", "replay", "--type", "replayed_in_time", "--format", "json", "--speed")
    shown = [json.loads(each) for each in printed(in_process(*line, "0.5", environment=found)).splitlines()]
    times = [datetime.fromisoformat(each["timestamp"]) for each in shown]
    assert pauses == pytest.approx([(later - earlier).total_seconds() * 2 for earlier, later in pairwise(times)])
    printed(in_process(*line, "0", environment=found))
    assert len(pauses) == 2
