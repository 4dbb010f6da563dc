import "./setup.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Agent, Event, SessionEvent } from "../src/core/types.ts";
import { flattened, trees } from "../src/lib/causes.ts";
import { links } from "../src/lib/flow.ts";
import { ago, bytes, compact, count, dollars, duration } from "../src/lib/format.ts";
import { score } from "../src/lib/fuzzy.ts";
import { grouped } from "../src/lib/groups.ts";
import { parseMetrics, quantile, sum } from "../src/lib/prometheus.ts";
import { Ring } from "../src/lib/ring.ts";
import { said } from "../src/lib/said.ts";
import { inputLine, steps } from "../src/lib/sessions.ts";
import { sseMessages } from "../src/lib/sse.ts";
import { layout } from "../src/lib/tiles.ts";
import { tokensOf, totals } from "../src/lib/usage.ts";
import { oneLine, terminal, visible } from "../src/lib/visible.ts";
import { windowOf } from "../src/lib/window.ts";

const agent = (more: Partial<Agent>) =>
  ({
    agent_id: "a",
    agent_type: "t",
    issue_id: "i",
    project_id: "p",
    status: "running",
    cause: "",
    spawned_by: "operator",
    ...more,
  }) as Agent;
const event = (id: number, cause?: number, more: Partial<Event> = {}) =>
  ({
    event_id: `evt-00000001-${String(id).padStart(10, "0")}`,
    event_type: `e${id}`,
    causation_id: cause && `evt-00000001-${String(cause).padStart(10, "0")}`,
    ...more,
  }) as Event;

test("durations have their two largest units", () => {
  const expected: [number, string][] = [
    [0, "0 s"],
    [20, "20 ms"],
    [999, "999 ms"],
    [1000, "1 s"],
    [61_000, "1 m 1 s"],
    [3_600_000, "1 h"],
    [90_061_000, "1 d 1 h"],
    [-5, "0 s"],
  ];
  for (const [given, text] of expected) assert.equal(duration(given), text);
});

test("ages have one unit, and times to come are said", () => {
  const expected: [number, string][] = [
    [0, "now"],
    [900, "now"],
    [59_000, "59 s ago"],
    [60_000, "1 m ago"],
    [7_200_000, "2 h ago"],
    [-5000, "in 5 s"],
  ];
  for (const [given, text] of expected) assert.equal(ago(given), text);
});

test("numbers are short, and small amounts of money keep their digits", () => {
  assert.deepEqual([0, 5, 1234, 15_400, 2_500_000].map(compact), ["0", "5", "1.23k", "15.4k", "2.50M"]);
  assert.deepEqual([0, 0.42, 12, 0.0042].map(dollars), ["$0.00", "$0.42", "$12.00", "$0.0042"]);
  assert.deepEqual([0, 1023, 1024, 1536, 2 ** 30].map(bytes), ["0 B", "1023 B", "1 KiB", "1.50 KiB", "1 GiB"]);
  assert.deepEqual(
    [0, 1, 1000].map((each) => count(each, "agent")),
    ["0 agents", "1 agent", "1,000 agents"],
  );
});

test("nothing invisible stays invisible", () => {
  const hostile = [
    "\u202e",
    "\u2066",
    "\u200b",
    "\ufeff",
    "\u0000",
    "\u0007",
    "\u0085",
    "\u2028",
    "\u{e0041}",
    "\u061c",
    "\r",
  ];
  for (const each of hostile) {
    const shown = visible(`a${each}b`);
    assert.match(shown, /^a<U\+[0-9A-F]{4,5}>b$/, JSON.stringify(each));
  }
  assert.equal(
    visible("\u{1f469}\u200d\u{1f4bb} \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
    "\u{1f469}\u200d\u{1f4bb} \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
  );
  assert.equal(visible("a\u200db"), "a<U+200D>b");
  assert.equal(visible("tab\tand\nline"), "tab\tand\nline");
  assert.equal(visible("a\r\nb"), "a\nb");
});

test("colours, titles and links are removed from output, and from nothing else", () => {
  assert.equal(visible("\u001b[31mred"), "<U+001B>[31mred");
  assert.equal(visible("ls \u001b]0;; rm -rf x\u0007"), "ls <U+001B>]0;; rm -rf x<U+0007>");
  assert.equal(terminal("\u001b(B\u001b[m\u001b7\u001b=reset\u001bPq#payload\u001b\\"), "reset");
  assert.equal(
    terminal("\u001b[31mred\u001b[0m \u001b]0;title\u0007\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\"),
    "red link",
  );
  assert.equal(terminal("lone \u001b"), "lone <U+001B>");
});

test("one line is one line, and is cut", () => {
  assert.equal(oneLine("a\n\n b\tc"), "a b c");
  assert.equal(oneLine("x".repeat(300), 10), `${"x".repeat(9)}…`);
});

test("a window is within the list, and covers what is in sight", () => {
  for (const [items, top, height] of [
    [0, 0, 0],
    [0, 500, 300],
    [10, 0, 400],
    [1000, 5000, 300],
    [1000, 99_999, 300],
    [5, -20, 100],
  ] as const) {
    const [first, last] = windowOf(items, 20, top, height);
    assert.ok(0 <= first && first <= last && last <= items, `${items} ${top} ${first} ${last}`);
    for (let row = Math.max(0, Math.floor(top / 20)); row < Math.min(items, (top + height) / 20); row += 1) {
      assert.ok(first <= row && row < last);
    }
  }
});

test("a ring keeps the newest, and older ones as long as they fit", () => {
  const ring = new Ring<number>(100);
  for (let number = 0; number < 1000; number += 7) ring.append([0, 1, 2, 3, 4, 5, 6].map((each) => number + each));
  assert.ok(ring.items.length <= 110 && ring.items.length >= 100);
  assert.equal(ring.items.at(-1), 1000);
  assert.deepEqual(
    ring.items,
    Array.from({ length: ring.items.length }, (_, index) => 1001 - ring.items.length + index),
  );
  const small = new Ring<number>(5);
  small.append([8, 9]);
  assert.equal(small.prepend([6, 7]), true);
  assert.equal(small.prepend([1, 2, 3]), false);
  assert.deepEqual(small.items, [3, 6, 7, 8, 9]);
});

test("server-sent events are the messages of a WebSocket, however they are cut", () => {
  const text =
    'event: gap\ndata: {"missed":3}\n\nid: evt-1\nevent: x\ndata: {"event_id":"evt-1"}\n\n: cursor\nid: evt-2\n\ndata: {"lines":[1]}\n\nevent: error\ndata: {"code":"AUTH_001"}\n\n';
  const expected = [
    { events: [], gap: { missed: 3 } },
    { events: [{ event_id: "evt-1" }], cursor: "evt-1" },
    { events: [], cursor: "evt-2" },
    { lines: [1] },
    { code: "AUTH_001" },
  ];
  for (const size of [1, 3, 10, 1000]) {
    const parse = sseMessages();
    const found: object[] = [];
    for (let at = 0; at < text.length; at += size) found.push(...parse(text.slice(at, at + size)));
    assert.deepEqual(found, expected);
  }
});

test("effects stand below their causes, and no claim makes a circle", () => {
  const drawn = flattened(trees([event(1), event(2, 1), event(3), event(4, 2), event(5, 1)]));
  assert.deepEqual(
    drawn.map((each) => [each.event.event_type, each.depth]),
    [
      ["e1", 0],
      ["e2", 1],
      ["e4", 2],
      ["e5", 1],
      ["e3", 0],
    ],
  );
  const circle = flattened(trees([event(1, 2), event(2, 1), event(3, 3)]));
  assert.deepEqual(
    circle.map((each) => each.event.event_type),
    ["e1", "e2", "e3"],
  );
  const chain = Array.from({ length: 20_000 }, (_, index) => event(index + 1, index || undefined));
  assert.equal(flattened(trees(chain)).length, 20_000);
});

test("agents that need a person come first", () => {
  const at = (minute: number) => `2026-01-01T10:${String(minute).padStart(2, "0")}:00Z`;
  const all = [
    agent({ agent_id: "runs", status: "running", created_at: at(1) }),
    agent({ agent_id: "waits", status: "needs_input", status_since: at(9), created_at: at(1) }),
    agent({ agent_id: "waits longer", status: "stuck", status_since: at(5), created_at: at(1) }),
    agent({
      agent_id: "failed",
      status: "failed",
      issue_id: "lost",
      created_at: at(1),
      ended_at: at(3),
      status_since: at(3),
    }),
    agent({ agent_id: "replaced", status: "failed", issue_id: "saved", created_at: at(1), ended_at: at(3) }),
    agent({ agent_id: "successor", status: "completed", issue_id: "saved", created_at: at(4), ended_at: at(5) }),
  ];
  const ids = Object.fromEntries(
    Object.entries(grouped(all)).map(([name, list]) => [name, list.map((each) => each.agent_id)]),
  );
  assert.deepEqual(ids, {
    attention: ["failed", "waits longer", "waits"],
    active: ["runs"],
    finished: ["successor", "replaced"],
  });
});

test("cached tokens are counted once, whatever the program calls input", () => {
  const usage = {
    session_id: "",
    input_tokens: 100,
    output_tokens: 10,
    cache_read_tokens: 60,
    cache_creation_tokens: 5,
  };
  assert.deepEqual(tokensOf(usage, "claude"), { input: 100, output: 10, cached: 65, all: 175 });
  assert.deepEqual(tokensOf(usage, "codex"), { input: 35, output: 10, cached: 65, all: 110 });
  assert.equal(tokensOf(undefined).all, 0);
});

test("cost by type is the highest first, by day in order", () => {
  const used = (id: string, type: string, day: string, cost: number) =>
    agent({
      agent_id: id,
      agent_type: type,
      created_at: `${day}T12:00:00`,
      runner: "claude",
      model: "",
      usage: { session_id: "", cost_usd: cost },
    });
  const all = [used("1", "x", "2026-01-02", 1), used("2", "y", "2026-01-01", 5), used("3", "x", "2026-01-02", 2)];
  assert.deepEqual(
    totals(all, "type").map((row) => [row.key, row.agents, row.cost]),
    [
      ["y", 1, 5],
      ["x", 2, 3],
    ],
  );
  assert.deepEqual(
    totals(all, "day").map((row) => row.key),
    ["2026-01-01", "2026-01-02"],
  );
  assert.deepEqual(
    totals(all, "model").map((row) => row.key),
    ["claude (its default)"],
  );
});

test("metrics are read, summed, and histograms give quantiles of what was between two scrapes", () => {
  const before = parseMetrics(
    '# HELP x\nx{a="1"} 2\nx{a="2 3"} 4\nxy 9\nlag_bucket{le="0.1"} 10\nlag_bucket{le="1.0"} 10\nlag_bucket{le="+Inf"} 10\n',
  );
  const after = parseMetrics('lag_bucket{le="0.1"} 108\nlag_bucket{le="1.0"} 110\nlag_bucket{le="+Inf"} 110\n');
  assert.equal(sum(before, "x"), 6);
  assert.equal(quantile(before, after, "lag", 0.5), 0.1);
  assert.equal(quantile(before, after, "lag", 0.99), 1);
  assert.ok(Number.isNaN(quantile(before, before, "lag", 0.99)));
});

test("typed letters find names, and whole words come first", () => {
  assert.equal(score("zz", "python-specialist"), 0);
  assert.ok(score("ps", "python-specialist") > score("ps", "pants"));
  assert.ok(score("spec", "python-specialist") > score("spec", "s-p-e-c"));
  assert.ok(score("", "anything") > 0);
});

test("tool calls are paired with their ends, also when they overlap", () => {
  const say = (type: string, second: number, more: Partial<SessionEvent> = {}) =>
    ({
      event_type: type,
      timestamp: `2026-01-01T10:00:${String(second).padStart(2, "0")}Z`,
      tool_name: "",
      error: "",
      role: "",
      content: [],
      ...more,
    }) as unknown as SessionEvent;
  const found = steps([
    say("session_start", 0),
    say("pre_tool", 1, { tool_name: "Read", tool_input: { path: "a" } }),
    say("pre_tool", 2, { tool_name: "Read", tool_input: { path: "b" } }),
    say("post_tool", 3, { tool_name: "Read", tool_input: { path: "b" }, error: "gone" }),
    say("post_tool", 5, { tool_name: "Read", tool_input: { path: "a" } }),
    say("pre_tool", 6, { tool_name: "Bash", tool_input: { command: "x" } }),
    say("session_stop", 9, { exit_code: 1 }),
  ]);
  const shape = found.map((step) => [step.kind, (step.end - step.start) / 1000, step.failed]);
  assert.deepEqual(shape, [
    ["start", 0, false],
    ["tool", 4, false],
    ["tool", 1, true],
    ["tool", Number.NaN, false],
    ["stop", 0, true],
  ]);
  assert.equal(inputLine(say("pre_tool", 1, { tool_input: { timeout: 5, command: "ls -l" } })), "ls -l");
  assert.equal(inputLine(say("pre_tool", 1, { tool_input: null as never })), "");
});

test("the tiles of a map have areas like their sizes, and do not overlap", () => {
  const entries = [400, 300, 200, 100].map((size, index) => ({
    path: `d${index % 2}/f${index}`,
    disposition: "included",
    reason: "x",
    bytes: size,
  }));
  const tiles = layout(entries, 100, 100);
  const area = Object.fromEntries(tiles.map((tile) => [tile.path, (tile.x1 - tile.x0) * (tile.y1 - tile.y0)]));
  assert.equal(tiles.length, 4);
  for (const entry of entries)
    assert.ok(Math.abs((area[entry.path] ?? 0) / 10 - entry.bytes) < entry.bytes * 0.15, entry.path);
  for (const one of tiles)
    for (const other of tiles) {
      const apart = one.x1 <= other.x0 || other.x1 <= one.x0 || one.y1 <= other.y0 || other.y1 <= one.y0;
      assert.ok(one === other || apart);
    }
  assert.deepEqual(layout([], 100, 100), []);
});

test("a hand-over is an arrow from the agent whose event caused it, and suggestions that were followed are gone", () => {
  const all = [
    agent({
      agent_id: "one",
      agent_type: "architect",
      ended_at: "2026-01-01T10:00:00Z",
      created_at: "2026-01-01T09:00:00Z",
    }),
    agent({
      agent_id: "two",
      agent_type: "coder",
      spawned_by: "handover",
      cause: "evt-1#after design#coder",
      created_at: "2026-01-01T10:00:01Z",
    }),
    agent({ agent_id: "three", agent_type: "tester", spawned_by: "two" }),
  ];
  const causes = new Map([
    ["evt-1", { event_type: "agent_completed", publisher: "one", data: {} } as unknown as Event],
  ]);
  const suggested = ["coder", "auditor"].map((type) => ({
    after: "one",
    agent_type: type,
    priority: "high",
    reason: "",
  }));
  assert.deepEqual(
    links(all, causes, suggested).map(({ from, to, dashed }) => [from, to, dashed]),
    [
      ["one", "two", false],
      ["two", "three", false],
      ["one", "next: auditor", true],
    ],
  );
});

test("a line of JSON says what it says", () => {
  assert.equal(said("plain"), "plain");
  assert.equal(said('{"type":"result","result":"done"}'), "done");
  assert.equal(
    said('{"message":{"content":[{"type":"tool_use","name":"Bash"},{"type":"text","text":"hello"}]}}'),
    "Bash …",
  );
  assert.equal(said('{"broken'), '{"broken');
});
