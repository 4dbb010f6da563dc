"""`cco schedules create|list|delete`."""

from __future__ import annotations

import json

from tests.support.commands import fails, misused, printed

from cco_sidecar.testing.process import SidecarProcess, run_cco


def test_schedules_are_created_listed_and_deleted(sidecar: SidecarProcess) -> None:
    line = ("schedules", "create", "--event-type", "review_due", "--project", "project-schedules")
    made = printed(run_cco(sidecar, *line, "--after", "3600", "--id", "soon", "--data", '{"n": 1}'))
    assert made.startswith("soon  review_due  at 20")
    cron = printed(run_cco(sidecar, *line, "--cron", "0 9 * * mon", "--id", "weekly", "--timezone", "Europe/Warsaw"))
    assert cron.endswith(", repeats '0 9 * * mon' (Europe/Warsaw)\n")
    printed(run_cco(sidecar, *line, "--at", "2031-05-04T09:00:00+02:00", "--id", "late"))
    project = ("--project", "project-schedules")
    found = json.loads(printed(run_cco(sidecar, "schedules", "list", *project, "--format", "json")))
    assert [each["schedule_id"] for each in found] == ["soon", "weekly", "late"]
    assert found[2]["next_at"] == "2031-05-04T07:00:00Z"
    assert printed(run_cco(sidecar, "schedules", "delete", "soon", *project)) == "deleted soon\n"
    fails(run_cco(sidecar, "schedules", "delete", "soon", *project), "schedule 'soon' not found")


def test_wrong_usage_is_refused(sidecar: SidecarProcess) -> None:
    line = ("schedules", "create", "--event-type", "x")
    fails(run_cco(sidecar, *line), "exactly one of at, after_seconds and cron")
    misused(run_cco(sidecar, *line, "--at", "tomorrow"), "--at")
    misused(run_cco(sidecar, *line, "--after", "1", "--data", "[1]"), "--data must be a JSON object")
