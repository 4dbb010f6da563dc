// One agent: its output as it happens, its changes, its figures, and what a person can do.
import { useEffect, useState } from "preact/hooks";
import { get, post, remove, request, segment } from "../core/api.ts";
import { nextFrame } from "../core/frame.ts";
import { link, params, set } from "../core/route.ts";
import { readStream, SILENCE_MS } from "../core/stream.ts";
import type { Agent, AgentDiff, LogLine } from "../core/types.ts";
import { bytes, clockTime, compact, dollars, duration } from "../lib/format.ts";
import { isActive } from "../lib/groups.ts";
import { Ring } from "../lib/ring.ts";
import { tokensOf } from "../lib/usage.ts";
import { terminal, visible } from "../lib/visible.ts";
import { shared } from "../state/project.ts";
import { Action, Badge, Duration, Facts, Problem, Tabs, Text, Time, useLoaded } from "../ui/basics.tsx";
import { List } from "../ui/list.tsx";
import { DiffOf } from "./approval.tsx";

const TABS = [
  { id: "log", name: "Output" },
  { id: "diff", name: "Changes" },
  { id: "facts", name: "Details" },
];

export function AgentPanel({ id, onClose }: { id: string; onClose(): void }) {
  const team = shared.value?.team;
  const known = team?.byId.value.get(id);
  const { value: read, problem } = useLoaded(known ? "" : id, async () =>
    known ? undefined : await get<Agent>(`/api/agents/${segment(id)}`),
  );
  const agent = known ?? read;
  const tab = params.value.tab || "log";
  return (
    <aside class="detail" aria-label="Agent">
      <div class="bar">
        <h2>{id}</h2>
        <button type="button" class="close" aria-label="Close" onClick={onClose}>
          ✕
        </button>
      </div>
      <Problem text={problem} />
      {agent && (
        <>
          <p>
            <Badge status={agent.status} /> {visible(agent.reason)}
          </p>
          <Actions agent={agent} onDone={() => void team?.reload()} />
          <Tabs label="Agent" tabs={TABS} current={tab} onChange={(to) => set({ tab: to === "log" ? "" : to }, true)} />
          {tab === "log" && <Log key={`${agent.agent_id} ${agent.attempt}`} agent={agent} />}
          {tab === "diff" && <Changes agent={agent} />}
          {tab === "facts" && <Details agent={agent} />}
        </>
      )}
    </aside>
  );
}

function Actions({ agent, onDone }: { agent: Agent; onDone(): void }) {
  const [message, setMessage] = useState("");
  const path = `/api/agents/${segment(agent.agent_id)}`;
  const then = (call: Promise<unknown>) => call.then(onDone);
  return (
    <div class="actions">
      {isActive(agent) ? (
        <Action name="Stop" danger confirm="Stop this agent?" run={() => then(remove(path))} />
      ) : (
        <>
          <label>
            <span class="hidden">Instruction</span>
            <input
              placeholder="Instruction (or its task again)"
              value={message}
              onInput={(event) => setMessage(event.currentTarget.value)}
            />
          </label>
          <Action
            name="Resume"
            primary
            confirm={message ? "" : "Start it again with its task?"}
            run={() => then(post(`${path}/resume`, { message })).then(() => setMessage(""))}
          />
          {agent.worktree && (
            <Action
              name="Discard worktree"
              danger
              confirm="Delete its worktree and branch, with work that is not merged?"
              run={() => then(remove(`${path}/worktree`))}
            />
          )}
        </>
      )}
      <a href={link("issue", { issue: agent.issue_id })}>Issue</a>
      <a href={link("context", { issue: agent.issue_id, type: agent.agent_type, task: agent.task.slice(0, 2000) })}>
        Context
      </a>
    </div>
  );
}

const MOST_LINES = 20_000;
const TAIL = 2000;
type Numbered = LogLine & { number: number };

/** Returns the lines after the last that is known; all of them if that is not among them. */
export function linesAfter(known: LogLine | undefined, lines: LogLine[]): LogLine[] {
  const at = lines.findLastIndex((line) => line.timestamp === known?.timestamp && line.text === known?.text);
  return known ? lines.slice(at + 1) : lines;
}

function Log({ agent }: { agent: Agent }) {
  const [, draw] = useState(0);
  const [follow, setFollow] = useState(true);
  const [state, setState] = useState("");
  const [lines] = useState(() => new Ring<Numbered>(MOST_LINES));
  const path = `/api/agents/${segment(agent.agent_id)}/logs`;
  useEffect(() => {
    const abort = new AbortController();
    let callOff: (() => void) | null = null;
    let number = 0;
    let arrived: LogLine[] = [];
    let resuming = false;
    const flush = () => {
      callOff = null;
      // A log has no cursor: after an interruption its end is read again, and what is known is left out.
      const fresh = resuming ? linesAfter(lines.items.at(-1), arrived) : arrived;
      if (arrived.length > 0) resuming = false;
      arrived = [];
      lines.append(fresh.map((line) => ({ ...line, number: number++ })));
      draw((turn) => turn + 1);
    };
    const receive = (batch: { lines?: LogLine[]; message?: string }) => {
      setState(batch.message ?? "");
      for (const line of batch.lines ?? []) arrived.push(line);
      callOff ??= nextFrame(flush);
    };
    const read = async () => {
      for (;;) {
        await readStream(path, { follow: true, tail: TAIL }, receive, abort.signal, {
          silenceMs: SILENCE_MS,
          onRefused: (error) => {
            if (error.status >= 400 && error.status < 500) {
              setState(error.message);
              abort.abort();
            }
          },
        });
        const current = await get<Agent>(`/api/agents/${segment(agent.agent_id)}`).catch(() => null);
        if (abort.signal.aborted || (current && !isActive(current))) return;
        resuming = true;
        await new Promise((resolve) => setTimeout(resolve, 1000));
        if (abort.signal.aborted) return;
      }
    };
    void read();
    return () => {
      abort.abort();
      callOff?.();
    };
  }, [agent.agent_id]);
  const download = async () => {
    const text = await (await request("GET", path, undefined, undefined, "application/x-ndjson")).text();
    const all = text.split("\n").flatMap((batch) => (batch ? (JSON.parse(batch).lines as LogLine[]) : []));
    const blob = new Blob(all.map((line) => `${line.timestamp} ${line.text}\n`));
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob) });
    link.download = `${agent.agent_id}.log`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return (
    <div class="log">
      <div class="actions">
        <label class="check">
          <input type="checkbox" checked={follow} onChange={(event) => setFollow(event.currentTarget.checked)} /> Follow
        </label>
        <Action name="Download" run={download} />
      </div>
      <Problem text={state} />
      {lines.items.length >= TAIL && <p class="faint">The last lines; the download has all.</p>}
      <List
        label="Output"
        rowHeight={19}
        items={lines.items}
        follow={follow}
        idOf={(line) => String(line.number)}
        render={(line) => (
          <span class={`line ${line.stream}`} title={line.timestamp}>
            <span class="faint">{clockTime(Date.parse(line.timestamp ?? ""))}</span> {terminal(line.text)}
          </span>
        )}
        empty={isActive(agent) ? "It has written nothing yet." : "It wrote nothing, or its log is no longer kept."}
      />
    </div>
  );
}

function Changes({ agent }: { agent: Agent }) {
  const { value, problem, loading, reload } = useLoaded(`${agent.agent_id} ${agent.status}`, (signal) =>
    get<AgentDiff>(`/api/agents/${segment(agent.agent_id)}/diff`, {}, signal),
  );
  return (
    <div class="scroll-pane" tabIndex={0} role="region" aria-label="Changes">
      <button type="button" onClick={reload}>
        Refresh
      </button>
      <Problem text={problem} />
      {loading && <p class="faint">Loading …</p>}
      {value && <DiffOf value={value} />}
    </div>
  );
}

function Details({ agent }: { agent: Agent }) {
  const { usage } = agent;
  const tokens = tokensOf(usage, agent.runner);
  return (
    <div class="scroll-pane" tabIndex={0} role="region" aria-label="Details">
      <h3>Task</h3>
      <Text label="Task">{agent.message || agent.task || "(none)"}</Text>
      <Facts
        facts={[
          ["Issue", <a href={link("issue", { issue: agent.issue_id })}>{agent.issue_id}</a>],
          ["Project", agent.project_id],
          ["Spawned by", agent.spawned_by],
          ["Cause", agent.cause],
          ["Spawned", <Time at={agent.created_at} />],
          ["Took", <Duration from={agent.started_at} to={agent.ended_at} />],
          ["Attempt", `${agent.attempt} of ${agent.max_attempts}`],
          ["Queue", agent.queue_position > 0 && `position ${agent.queue_position}`],
          ["Runner", agent.runner],
          ["Model", agent.model],
          ["Branch", agent.branch],
          ["Worktree", agent.worktree],
          ["Process", agent.process_id],
          ["Exit code", agent.exit_code],
          ["Signal", agent.signal],
          ["Peak memory", agent.peak_memory_bytes !== undefined && bytes(agent.peak_memory_bytes)],
          ["CPU time", agent.cpu_seconds !== undefined && duration(agent.cpu_seconds * 1000)],
          ["Progress", agent.progress?.percent !== undefined && `${agent.progress.percent} %`],
          ["Turns", usage?.turns],
          [
            "Tokens",
            tokens.all > 0 &&
              `${compact(tokens.input)} in, ${compact(tokens.output)} out, ${compact(tokens.cached)} cached`,
          ],
          ["Cost", usage?.cost_usd !== undefined && dollars(usage.cost_usd)],
          [
            "Result",
            agent.result_id && (
              <a href={link("issue", { issue: agent.issue_id, a: agent.result_id })}>{agent.result_id}</a>
            ),
          ],
        ]}
      />
      {agent.last_output?.length > 0 && (
        <>
          <h3>Last output</h3>
          <Text label="Last output">{terminal(agent.last_output.join("\n"))}</Text>
        </>
      )}
    </div>
  );
}
