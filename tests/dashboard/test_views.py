"""Every view, on a live sidecar with agents that run: what it shows, and what can be done there."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, expect
from tests.dashboard.conftest import Visit
from tests.support.sidecars import until
from tests.support.team_at_work import ISSUE, Team

from cco_sidecar.testing.agents import SpawnedAgent

Agents = dict[str, SpawnedAgent]


def row(page: Page, text: str) -> Any:
    return page.get_by_role("option").filter(has_text=text).first


def test_the_team_is_in_three_groups(visit: Visit, agents: Agents) -> None:
    page = visit().page
    listed = page.get_by_role("listbox", name="Agents")
    expect(listed.locator(".group")).to_have_text(
        [re.compile(each) for each in ("Needs attention 3", "Active 1", "Finished 1")]
    )
    expect(row(page, "security-auditor")).to_contain_text("exited with code 3")
    expect(row(page, "debugger")).to_contain_text("stuck")
    expect(row(page, "test-engineer")).to_contain_text("writing tests")
    expect(row(page, "chief-architect")).to_contain_text(re.compile(r"15\.4k.*\$0\.42", re.DOTALL))
    expect(row(page, "python-specialist")).to_contain_text(f"agent/{agents['coder'].id[:20]}")


def test_the_find_field_narrows_the_team_and_is_in_the_address(visit: Visit, agents: Agents) -> None:
    page = visit().page
    page.get_by_label("Find agents").fill("auditor failed")
    expect(page.get_by_role("option")).to_have_count(1)
    assert page.url.endswith("#/team?find=auditor+failed")
    page.reload()
    expect(page.get_by_role("option")).to_have_count(1)


def test_output_appears_as_it_is_written(visit: Visit, team: Team, agents: Agents) -> None:
    there = visit()
    name = "log-gate"
    lines = [{"do": "print", "text": "before the gate"}, team.gate(name), {"do": "print", "text": "behind the gate"}]
    spawned = team.spawn("go-specialist", "print", lines)
    there.show(f"team?agent={spawned.id}")
    output = there.page.get_by_role("listbox", name="Output")
    expect(output).to_contain_text("before the gate")
    team.open(name)
    expect(output).to_contain_text("behind the gate")
    expect(there.page.get_by_role("complementary", name="Agent")).to_contain_text("completed")


def test_an_agent_is_stopped_and_resumed(visit: Visit, team: Team, agents: Agents) -> None:
    there = visit()
    spawned = team.spawn("rust-specialist", "wait", [team.gate("never")])
    there.show(f"team?agent={spawned.id}")
    panel = there.page.get_by_role("complementary", name="Agent")
    panel.get_by_role("button", name="Stop").click()
    assert spawned.get()["status"] == "running"
    panel.get_by_role("button", name="Yes, stop").click()
    expect(panel).to_contain_text("stopped by the operator")
    panel.get_by_label("Instruction").fill("go on")
    panel.get_by_role("button", name="Resume").click()
    until(lambda: spawned.get()["status"] == "running", "the resumed agent")
    assert spawned.get()["message"] == "go on"
    expect(panel).to_contain_text("running")
    spawned.stop(force=True)
    expect(panel).to_contain_text("stopped by the operator")
    panel.get_by_role("button", name="Resume").click()
    expect(panel.get_by_role("group", name="Start it again with its task?")).to_be_visible()
    assert spawned.get()["status"] == "stopped"


def test_a_long_line_of_output_can_be_read_to_its_end(visit: Visit, team: Team, agents: Agents) -> None:
    there = visit()
    line = {"do": "print", "text": f"{'word ' * 60}END"}
    spawned = team.spawn("go-specialist", "print much", [line | {"times": 2100}])
    spawned.wait("completed")
    there.show(f"team?agent={spawned.id}")
    output = there.page.get_by_role("listbox", name="Output")
    expect(output).to_contain_text("END")
    expect(there.page.get_by_role("complementary", name="Agent")).to_contain_text("the download has all")
    last = output.get_by_role("option").last.locator(".line")
    output.evaluate("list => list.scrollTo(list.scrollWidth, list.scrollHeight)")
    box, frame = last.bounding_box(), output.bounding_box()
    assert box is not None and frame is not None
    assert box["width"] > frame["width"] and box["x"] + box["width"] <= frame["x"] + frame["width"] + 1


def test_an_approval_shows_its_command_and_diff_and_is_answered(visit: Visit, team: Team, agents: Agents) -> None:
    page = visit().page
    card = page.get_by_role("article", name="Approval: May I add the exchange rates")
    expect(card.get_by_role("region", name="Command")).to_have_text("psql shop -c 'insert into rates select 1'")
    expect(card).to_contain_text("-RATES = {'EUR': 1.0}")
    expect(card).to_contain_text("+RATES = {'EUR': 100, 'USD': 108}")
    expect(card).not_to_contain_text("has ended")
    card.get_by_label("Comment").fill("in the night")
    card.get_by_role("button", name="Approve").focus()
    page.keyboard.press("Enter")
    expect(card).to_have_count(0)
    expect(page.get_by_role("status").filter(has_text="Approved: May I add the exchange rates")).to_have_count(1)
    expect(page.get_by_role("listbox", name="Agents")).not_to_contain_text("May I add the exchange rates")
    answered = team.call("GET", "/api/approvals")["approvals"][0]
    assert (answered["status"], answered["comment"]) == ("approved", "in the night")


def test_an_approval_of_an_agent_that_has_ended_says_so(visit: Visit, team: Team, agents: Agents) -> None:
    page = visit().page
    ask = {"do": "call", "method": "POST", "path": "/approvals", "expect": 201, "body": {"question": "Who waits?"}}
    team.spawn("test-engineer", "ask and go", [ask]).wait("completed")
    card = page.get_by_role("article", name="Approval: Who waits?")
    expect(card).to_contain_text("The agent that asked has ended")


def test_an_issue_shows_how_work_was_handed_on_and_compares_results(visit: Visit, agents: Agents) -> None:
    there = visit()
    there.show(f"issue?issue={ISSUE}")
    panel = there.page.get_by_role("complementary", name="Issue")
    expect(panel.get_by_role("link", name="chief-architect completed")).to_have_count(1)
    expect(panel.get_by_role("img", name=re.compile("suggested"))).not_to_have_count(0)
    expect(panel).to_contain_text("Totals are computed in cents")
    panel.get_by_role("button", name=re.compile("partial")).click()
    panel.get_by_role("button", name=re.compile("success test-engineer")).click()
    difference = panel.get_by_role("region", name=re.compile("What differs"))
    expect(difference).to_contain_text('-  "status": "partial",')
    expect(difference).to_contain_text('+  "status": "success",')
    assert "a=" in there.page.url and "b=" in there.page.url


def test_events_are_filtered_in_the_filter_language(visit: Visit, agents: Agents) -> None:
    there = visit()
    there.show("events")
    field = there.page.get_by_label("Filter, in the filter language")
    field.fill("event_type:tests_*,coverage:>90")
    field.press("Enter")
    listed = there.page.get_by_role("listbox", name="Events")
    expect(listed.get_by_role("option")).to_have_count(1)
    expect(listed).to_contain_text("tests_passing")
    field.fill("coverage:>")
    field.press("Enter")
    expect(there.page.get_by_role("alert")).to_contain_text("filter")


def test_new_events_appear(visit: Visit, team: Team, agents: Agents) -> None:
    there = visit()
    there.show("events")
    expect(there.page.get_by_role("listbox", name="Events")).to_contain_text("agent_spawned")
    team.publish("appeared", {"n": 1})
    expect(row(there.page, "appeared")).to_be_visible()


def test_an_event_shows_its_causes(visit: Visit, team: Team, agents: Agents) -> None:
    there = visit()
    there.show("events?filter=event_type:fix_requested")
    row(there.page, "fix_requested").click()
    panel = there.page.get_by_role("complementary", name="Event")
    expect(panel.locator(".tree li")).to_have_text(
        [re.compile(each) for each in ("tests_failed", "└ fix_requested", "└ tests_passing")]
    )
    panel.get_by_role("link", name="tests_failed").click()
    expect(panel.get_by_role("region", name="Data")).to_contain_text('"failed": 2')


def test_the_past_is_replayed(visit: Visit, agents: Agents) -> None:
    there = visit()
    there.show("events")
    expect(row(there.page, "agent_spawned")).to_be_visible()
    slider = there.page.get_by_label("Moment that is shown")
    slider.fill("0")
    shown = there.page.get_by_role("listbox", name="Events").get_by_role("option")
    expect(shown).to_have_count(1)
    slider.blur()
    there.page.wait_for_url(re.compile(r"[?&]at=\d+$"))
    there.page.reload()
    expect(shown).to_have_count(1)
    there.page.get_by_role("button", name="600×").click()
    expect(there.page.get_by_role("button", name="Now")).to_be_disabled(timeout=20_000)
    assert "at=" not in there.page.url


def test_a_dead_letter_is_delivered_again(visit: Visit, team: Team, agents: Agents) -> None:
    there = visit()
    there.show("events?tab=consumers")
    line = there.page.get_by_role("row", name=re.compile("^auditor"))
    expect(line.get_by_role("link")).to_have_text("1")
    line.get_by_role("link").click()
    letters = there.page.get_by_role("region", name="Dead letters")
    letters.locator("summary").click()
    expect(letters).to_contain_text("no such check")
    letters.get_by_role("button", name="Deliver again").click()
    until(lambda: team.call("GET", "/api/dead-letters")["dead_letters"][0].get("replaying"), "the replay")


def test_a_context_is_a_map_scores_and_text(visit: Visit, agents: Agents) -> None:
    there = visit()
    there.show("context")
    there.page.get_by_label("Issue", exact=True).fill(ISSUE)
    there.page.get_by_label("Agent type").fill("python-specialist")
    there.page.get_by_label("Task").fill("totals of orders")
    there.page.get_by_role("button", name="Show").click()
    tile = there.page.get_by_role("button", name="src/shop/orders.py, included")
    tile.click()
    panel = there.page.get_by_role("complementary", name="File")
    expect(panel.get_by_role("row", name=re.compile("^words"))).to_have_count(1)
    expect(panel).to_contain_text("return sum(line.price")
    there.page.get_by_role("tab", name="Scores").click()
    expect(there.page.get_by_role("option").first).to_contain_text("orders.py")
    there.page.get_by_role("tab", name="Text").click()
    expect(there.page.get_by_role("region", name="Text of the context")).to_contain_text("Totals are computed in cents")


def test_a_session_is_shown_in_three_ways_and_grows(visit: Visit, team: Team, agents: Agents) -> None:
    there = visit()
    there.show("sessions")
    row(there.page, "research").click()
    panel = there.page.get_by_role("complementary", name="Session")
    expect(panel.locator("strong", has_text="total")).to_have_count(1)
    expect(panel.locator("li.failed")).to_contain_text("pytest -q")
    session = team.call("GET", "/api/sessions")["sessions"][0]["session_id"]
    said = {"event_type": "message", "role": "assistant", "content": [{"type": "text", "text": "one more thing"}]}
    team.call("POST", f"/api/sessions/{session}/events", json=said)
    expect(panel).to_contain_text("one more thing")
    panel.get_by_role("tab", name="Timeline").click()
    expect(panel.locator(".over .span.failed")).to_have_count(1)
    panel.get_by_role("tab", name="Full history").click()
    panel.locator("summary", has_text="post_tool").last.click()
    expect(panel).to_contain_text('"error": "exit code 1: 2 failed"')


def test_documents_have_revisions_relations_and_are_searched(visit: Visit, agents: Agents) -> None:
    there = visit()
    there.show("documents")
    there.page.get_by_label("Search the text of documents").fill("cents")
    there.page.get_by_role("button", name="Search").click()
    expect(there.page.get_by_role("option")).to_have_count(1)
    row(there.page, "design.md").click()
    panel = there.page.get_by_role("complementary", name="Document")
    expect(panel.locator(".markdown table td").first).to_have_text("1")
    panel.get_by_label("compared with").select_option("1")
    expect(panel.get_by_role("region", name="What differs")).to_contain_text("-Totals are floats.")
    panel.get_by_role("link", name="rates.json").click()
    expect(panel.get_by_role("region", name="Content")).to_contain_text('"EUR": 1')


def test_cost_is_summed_by_each_dimension(visit: Visit, agents: Agents) -> None:
    there = visit()
    there.show("cost")
    keys = {"Type": "chief-architect", "Agent": agents["architect"].id, "Issue": ISSUE, "Model": "command", "Day": "20"}
    for name, key in keys.items():
        there.page.get_by_role("tab", name=name).click()
        line = there.page.get_by_role("row", name=re.compile(f"^{re.escape(key)}"))
        expect(line.first).to_contain_text(re.compile(r"12k.*3\.40k.*\$0\.42", re.DOTALL))


def test_health_has_charts_and_what_the_doctor_says(visit: Visit, agents: Agents) -> None:
    there = visit()
    there.show("health")
    doctor = there.page.get_by_role("region", name="What the doctor says")
    expect(doctor.get_by_role("row", name=re.compile("database"))).to_contain_text("ok", timeout=60_000)
    expect(doctor.get_by_role("row", name=re.compile("storage .*temporary"))).to_contain_text("Fix: cco storage move")
    expect(there.page.get_by_role("img", name=re.compile(r"^Event loop lag.*ms"))).to_be_visible(timeout=30_000)
    assert there.page.locator(".charts canvas").count() == 6


def test_the_keyboard_reaches_everything(visit: Visit, agents: Agents) -> None:
    page = visit().page
    page.keyboard.press("g")
    page.keyboard.press("3")
    expect(page.get_by_role("heading", name="Events")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.get_by_label("Command, agent or issue")).to_be_focused()
    page.keyboard.type("debugger")
    # The agents of the team may still be read.
    expect(page.get_by_role("listbox", name="Commands").get_by_role("option").first).to_contain_text("debugger")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="Agent")).to_contain_text(agents["stuck"].id)
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary", name="Agent")).to_have_count(0)
    page.keyboard.press("/")
    expect(page.get_by_label("Find agents")).to_be_focused()
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    expect(page.get_by_role("listbox", name="Agents")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="Agent")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()


def test_every_view_has_a_link_and_back_leads_back(visit: Visit, agents: Agents) -> None:
    page = visit().page
    for name in ("Issues", "Events", "Context", "Sessions", "Documents", "Cost", "Health"):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        # An approval that waits may be counted in front.
        expect(page).to_have_title(re.compile(rf"{name} - orchestration sidecar$"))
    page.go_back()
    expect(page).to_have_title(re.compile("Cost - orchestration sidecar$"))
    page.evaluate("location.hash = '#/nowhere'")
    expect(page.get_by_text("There is no view")).to_be_visible()


def test_another_project_is_another_team(visit: Visit, team: Team, agents: Agents) -> None:
    there = visit()
    team.publish("elsewhere", {}, project_id="other-project")
    field = there.page.get_by_label("Project")
    field.fill("other-project")
    field.press("Enter")
    expect(there.page.get_by_text("No agents yet")).to_be_visible()
    there.show("events?project=other-project")
    expect(there.page.get_by_role("option")).to_have_count(1)
    there.page.get_by_role("navigation").get_by_role("link", name="Cost").click()
    assert there.page.url.endswith("#/cost?project=other-project")


def test_what_cannot_be_shown_does_not_end_the_page(visit: Visit, team: Team, agents: Agents) -> None:
    """Nesting that exceeds the stack of any parser is shown as it is."""
    for name, text in (
        ("quotes.md", ">" * 5000 + "deep"),
        ("lists.md", "\n".join(" " * 2 * depth + "- item" for depth in range(400))),
    ):
        made = team.call(
            "POST", "/api/documents", json={"filename": name, "content_type": "text/markdown", "text": text}
        )
        there = visit()
        there.show(f"documents?document={made['document_id']}")
        content = there.page.get_by_role("complementary", name="Document")
        expect(content).to_contain_text(text[-20:].strip())
        there.show("cost")
        expect(there.page.get_by_role("heading", name="Cost")).to_be_visible()


def test_what_is_read_stays_in_sight_while_output_arrives(visit: Visit, team: Team, agents: Agents) -> None:
    there = visit()
    first = [{"do": "print", "text": "early line", "times": 3000}]
    spawned = team.spawn(
        "go-specialist", "print", [*first, team.gate("more"), {"do": "print", "text": "late line", "times": 10_000}]
    )
    there.show(f"team?agent={spawned.id}")
    output = there.page.get_by_role("listbox", name="Output")
    expect(output).to_contain_text("early line")
    there.page.get_by_label("Follow").uncheck()
    output.evaluate("list => { list.scrollTop = list.scrollHeight - 2000 }")
    there.page.wait_for_timeout(300)
    before = output.evaluate("list => list.querySelector('[role=option]').id")
    team.open("more")
    spawned.wait("completed", timeout=60)
    expect(there.page.get_by_role("complementary", name="Agent")).to_contain_text("completed", timeout=20_000)
    there.page.wait_for_timeout(500)
    assert (
        abs(
            int(output.evaluate("list => list.querySelector('[role=option]').id").removeprefix("row-"))
            - int(before.removeprefix("row-"))
        )
        <= 1
    )


def test_an_address_leads_nowhere_else(visit: Visit, agents: Agents) -> None:
    there = visit()
    asked: list[str] = []
    there.page.on("request", lambda request: asked.append(request.url.removeprefix(there.sidecar.url)))
    for agent in ("..%2F..%2Fhealth", "..%2Fapprovals", "a%23b", "x%20y%3Fz%3D1", ".."):
        there.show(f"team?agent={agent}")
        expect(there.page.get_by_role("complementary", name="Agent").get_by_role("alert")).to_be_visible()
    assert not [path for path in asked if "%2F" not in path and "approvals" in path and "status=pending" not in path]
    assert "/api/agents/a%23b" in asked
