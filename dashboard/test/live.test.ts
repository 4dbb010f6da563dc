// The connection of the page: what it does when the sidecar goes, comes back, forgets, or is not the sidecar.
import "./setup.ts";

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { LiveEvents } from "../src/core/live.ts";
import { end, settled, signIn, token } from "../src/core/session.ts";
import type { Event, Gap } from "../src/core/types.ts";
import { Team } from "../src/state/team.ts";
import { Timeline } from "../src/state/timeline.ts";
import { pass, Sidecar, Socket, settle, tokenOf } from "./fakes.ts";

const id = (number: number, log = "00000001") => `evt-${log}-${String(number).padStart(10, "0")}`;
const event = (number: number, more: Partial<Event> = {}) =>
  ({ event_id: id(number), event_type: "e", topic: "t", publisher: "p", correlation_id: "", ...more }) as Event;

let sidecar: Sidecar;
let heard: string[];
let gaps: Gap[];
let live: LiveEvents | undefined;
const follow = (filter = "") => {
  live = new LiveEvents(
    "x",
    { events: (events) => heard.push(...events.map((each) => each.event_id)), gap: (gap) => gaps.push(gap) },
    filter,
  );
  return live;
};

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  sidecar = new Sidecar();
  heard = [];
  gaps = [];
});
afterEach(() => {
  live?.close();
  live = undefined;
  mock.timers.reset();
});

test("a stream begins with the newest events, and carries the token as a protocol", async () => {
  follow();
  await settle();
  assert.deepEqual(Object.fromEntries(Socket.last.address.searchParams), { project_id: "x", last: "1000" });
  assert.equal(Socket.last.address.protocol, "ws:");
  assert.deepEqual(Socket.last.protocols, ["cco.v1", `cco.token.${token.value}`]);
});

test("a connection that ends is continued at its cursor at once, without a word", async () => {
  const stream = follow();
  await settle();
  Socket.last.open().say({ events: [event(1), event(2)], cursor: id(2) });
  assert.equal(stream.state.value, "live");
  await pass(20_000);
  Socket.last.end();
  await settle();
  assert.equal(stream.state.value, "live");
  assert.equal(Socket.opened.length, 2);
  assert.equal(Socket.last.address.searchParams.get("since"), id(2));
  assert.equal(Socket.last.address.searchParams.get("last"), null);
  Socket.last.open().say({ events: [event(2), event(3)], cursor: id(3) });
  assert.deepEqual(heard, [id(1), id(2), id(3)]);
});

test("while nothing answers, the waits grow to ten seconds, and are said", async () => {
  const stream = follow();
  const waits: number[] = [];
  await settle();
  for (let attempt = 0; attempt < 8; attempt += 1) {
    Socket.last.end();
    await settle();
    assert.equal(stream.state.value, "lost");
    waits.push(stream.retryAt.value - Date.now());
    const before = Socket.opened.length;
    await pass(waits.at(-1) ?? 0);
    assert.equal(Socket.opened.length, before + 1);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
});

test("Try now does not wait", async () => {
  const stream = follow();
  await settle();
  Socket.last.end();
  await settle();
  stream.retry();
  await settle();
  assert.equal(Socket.opened.length, 2);
});

test("a connection that says nothing for 45 seconds is dead", async () => {
  follow();
  await settle();
  const first = Socket.last.open();
  await pass(44_000);
  first.say({ events: [], cursor: id(1) });
  await pass(44_000);
  assert.equal(first.closed, false);
  await pass(1000);
  assert.equal(first.closed, true);
  assert.equal(Socket.last.address.searchParams.get("since"), id(1));
});

test("so is one that does not open", async () => {
  follow();
  await settle();
  const first = Socket.last;
  await pass(45_000);
  assert.equal(first.closed, true);
});

test("a gap is told when the stream goes on, not when it begins", async () => {
  follow();
  await settle();
  const gap = { since: "", resumed_after: id(4), missed: 4 };
  Socket.last
    .open()
    .say({ gap })
    .say({ events: [event(5)], cursor: id(5) });
  assert.deepEqual(gaps, []);
  Socket.last.say({ gap: { ...gap, since: id(5) } });
  assert.equal(gaps.length, 1);
});

test("a log that began anew is read from its beginning, and the loss is told", async () => {
  follow();
  await settle();
  Socket.last.open().say({ events: [event(7)], cursor: id(7) });
  await pass(20_000);
  sidecar.answer = () => ({ status: 400, body: { code: "EVT_004", message: "no such event" } });
  Socket.last.end();
  await settle();
  Socket.last.end();
  await settle();
  assert.equal(gaps.length, 1);
  await pass(500);
  assert.equal(Socket.last.address.searchParams.get("since"), null);
  Socket.last.open().say({ events: [event(1, { event_id: id(1, "00000002") })], cursor: id(1, "00000002") });
  assert.deepEqual(heard, [id(7), id(1, "00000002")]);
});

test("a filter that is refused is not tried again", async () => {
  sidecar.answer = () => ({ status: 400, body: { code: "EVT_003", message: "bad filter" } });
  const stream = follow("a:");
  await settle();
  Socket.last.end();
  await settle();
  assert.equal(stream.problem.value, "bad filter");
  await pass(60_000);
  assert.equal(Socket.opened.length, 1);
});

test("where no WebSocket passes, the stream is read over fetch; WebSockets are tried again after a minute", async () => {
  const frames = [
    `id: ${id(1)}\ndata: ${JSON.stringify(event(1))}\n\nid: ${id(2)}\nda`,
    `ta: ${JSON.stringify(event(2))}\n\n`,
  ];
  sidecar.answer = () => ({ stream: frames });
  follow();
  await settle();
  Socket.last.end();
  await settle();
  assert.deepEqual(heard, [id(1), id(2)]);
  assert.equal(sidecar.asked[0]?.authorization, `Bearer ${token.value}`);
  await pass(30_000);
  assert.equal(Socket.opened.length, 1);
  await pass(31_000);
  await pass(10_000);
  assert.ok(Socket.opened.length > 1);
});

test("a closed stream connects no more", async () => {
  follow().close();
  await settle();
  await pass(60_000);
  assert.ok(Socket.opened.every((socket) => socket.closed));
});

test("a refused token ends the session; one that was renewed meanwhile does not", async () => {
  const { get } = await import("../src/core/api.ts");
  const old = token.value;
  sidecar.answer = () => {
    token.value = tokenOf({ exp: 1e10, jti: "two" });
    return { status: 401, body: { code: "AUTH_001", message: "revoked" } };
  };
  await assert.rejects(get("/api/agents"), { message: "revoked", code: "AUTH_001" });
  assert.ok(token.value && token.value !== old);
  sidecar.answer = () => ({ status: 401, body: { code: "AUTH_001", message: "revoked" } });
  await assert.rejects(get("/api/agents"));
  assert.equal(token.value, null);
});

test("a program that takes the port gets no token", async () => {
  const key = "00".repeat(32);
  const genuine = tokenOf({ exp: 1e10, iat: 1000, jti: "three", sid: "browser-1" });
  sidecar.answer = ({ path }) =>
    path === "/api/login-codes/exchange"
      ? { body: { jwt_token: genuine, identity_key: key } }
      : { body: { port: 80, session_proof: "made up" } };
  assert.equal(await signIn("code"), "");
  const { get } = await import("../src/core/api.ts");
  await assert.rejects(get("/api/agents"), { message: "the sidecar does not answer" });
  assert.deepEqual(
    [...new Set(sidecar.asked.map((each) => each.path))],
    ["/api/login-codes/exchange", "/api/identity"],
  );
  assert.ok(sidecar.asked.every((each) => each.authorization === null));
  sessionStorage.removeItem("cco.identity");
  end("");
});

test("without an answer the session goes on", async () => {
  const { get } = await import("../src/core/api.ts");
  await assert.rejects(get("/api/agents"), { status: 0 });
  assert.ok(token.value);
  await settled();
});

const agent = (name: string, status: string) => ({ agent_id: name, status, issue_id: "i", project_id: "x" });

test("the team is read again where events say so, in one go for many changes", async () => {
  let status = "running";
  sidecar.answer = ({ path }) =>
    path === "/api/approvals"
      ? { body: { approvals: [] } }
      : path === "/api/agents"
        ? { body: { agents: [agent("a", status), agent("b", "running")] } }
        : { body: agent(path.split("/").at(-1) ?? "", status) };
  const team = new Team("x");
  await settle();
  assert.equal(team.all.value.length, 2);
  status = "failed";
  team.notice([
    event(1, { event_type: "agent_failed", data: { agent_id: "a" } }),
    event(2, { data: { agent_id: "b" } }),
  ]);
  await pass(300);
  assert.equal(team.byId.value.get("a")?.status, "failed");
  assert.equal(sidecar.count("/api/agents/b"), 0);
  const before = sidecar.asked.length;
  team.notice(
    Array.from({ length: 40 }, (_, index) =>
      event(index + 3, { event_type: "agent_failed", data: { agent_id: `a${index}` } }),
    ),
  );
  await pass(300);
  assert.equal(sidecar.asked.length - before, 1);
  team.close();
});

test("an event names another agent than it is about: nothing is put under its name", async () => {
  sidecar.answer = ({ path }) =>
    path === "/api/approvals"
      ? { body: { approvals: [] } }
      : path === "/api/agents"
        ? { body: { agents: [] } }
        : { body: agent("other", "running") };
  const team = new Team("x");
  await settle();
  team.notice([event(1, { event_type: "agent_started", data: { agent_id: "a/../other" } })]);
  await pass(300);
  assert.equal(team.all.value.length, 0);
  team.close();
});

test("approvals are the oldest first, and read when one is asked for", async () => {
  let open = [{ approval_id: "2" }, { approval_id: "1" }];
  sidecar.answer = ({ path }) => ({ body: path === "/api/approvals" ? { approvals: open } : { agents: [] } });
  const team = new Team("x");
  await settle();
  assert.deepEqual(
    team.approvals.value.map((each) => each.approval_id),
    ["1", "2"],
  );
  open = [{ approval_id: "2" }];
  team.notice([event(1, { event_type: "approval_answered" })]);
  await settle();
  assert.deepEqual(
    team.approvals.value.map((each) => each.approval_id),
    ["2"],
  );
  team.close();
});

test("older events come in front, once, while newer ones arrive", async () => {
  const timeline = new Timeline("x");
  timeline.append([event(5), event(6)]);
  const pages: Record<string, Event[]> = { [id(5)]: [event(3), event(4)], [id(3)]: [event(1), event(2)], [id(1)]: [] };
  sidecar.answer = ({ params }) => {
    timeline.append([event(7)]);
    return { body: { events: pages[params.before ?? ""] } };
  };
  await timeline.loadOlder();
  assert.deepEqual(
    timeline.rows.map((row) => row.id),
    [1, 2, 3, 4, 5, 6, 7].map((number) => id(number)),
  );
  assert.ok(timeline.whole.value);
  await timeline.loadOlder();
  assert.equal(sidecar.count("/api/events"), 3);
});
