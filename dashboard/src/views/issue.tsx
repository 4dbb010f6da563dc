// One issue: who worked on it and what they decided, how work was handed on, what it cost.
import { useEffect, useMemo, useState } from "preact/hooks";
import { get, segment } from "../core/api.ts";
import { link, params, project, set } from "../core/route.ts";
import type { Agent, Approval, Event, Page, Result } from "../core/types.ts";
import { type Edge, flow, type Suggested } from "../lib/flow.ts";
import { compact, count, dollars } from "../lib/format.ts";
import { isActive } from "../lib/groups.ts";
import { tokensOf } from "../lib/usage.ts";
import { oneLine, visible } from "../lib/visible.ts";
import { readEvent } from "../state/event.ts";
import { shared } from "../state/project.ts";
import { Badge, Facts, JsonText, Line, orNothing, Problem, Time, useLoaded } from "../ui/basics.tsx";
import { difference, UnifiedDiff } from "../ui/diff.tsx";
import { Graph } from "../ui/graph.tsx";
import { List } from "../ui/list.tsx";

type Summary = { issue: string; agents: Agent[]; active: number; cost: number; at: number };

function summaries(agents: Agent[]): Summary[] {
  const found = new Map<string, Summary>();
  for (const agent of agents) {
    const own = found.get(agent.issue_id) ?? { issue: agent.issue_id, agents: [], active: 0, cost: 0, at: 0 };
    own.agents.push(agent);
    own.active += isActive(agent) ? 1 : 0;
    own.cost += agent.usage?.cost_usd ?? 0;
    own.at = Math.max(own.at, Date.parse(agent.status_since ?? agent.created_at ?? "") || 0);
    found.set(agent.issue_id, own);
  }
  return [...found.values()].sort((a, b) => b.at - a.at);
}

export function Issue() {
  const team = shared.value?.team;
  const { issue: open, find = "" } = params.value;
  const all = team?.all.value ?? [];
  const issues = useMemo(() => summaries(all), [all]);
  const shown = find ? issues.filter((each) => each.issue.toLowerCase().includes(find.toLowerCase())) : issues;
  return (
    <div class="split">
      <section class="master" aria-label="Issues">
        <div class="bar">
          <h1>Issues</h1>
          <input
            data-filter
            type="search"
            aria-label="Find issues"
            placeholder="Find an issue …"
            value={find}
            onInput={(event) => set({ find: event.currentTarget.value }, true)}
          />
          <span class="faint">{count(issues.length, "issue")}</span>
        </div>
        <List
          label="Issues"
          items={shown}
          rowHeight={52}
          idOf={(each) => each.issue}
          selected={open}
          onSelect={(each) => set({ issue: each.issue, a: "", b: "" })}
          render={(each) => (
            <div class="two-lines">
              <strong>{each.issue}</strong>
              <span class="faint">
                {count(each.agents.length, "agent")}
                {each.active > 0 && `, ${each.active} active`}
                {each.cost > 0 && `, ${dollars(each.cost)}`}, <Time at={each.at} />
              </span>
            </div>
          )}
          empty={team?.loading.value ? "Loading …" : "No agent has worked on an issue yet."}
        />
      </section>
      {open && <IssuePanel key={open} issue={open} agents={issues.find((each) => each.issue === open)?.agents ?? []} />}
    </div>
  );
}

type Loaded = { results: Result[]; approvals: Approval[]; suggested: Suggested[]; causes: Map<string, Event> };

async function load(issue: string, agents: Agent[], signal: AbortSignal): Promise<Loaded> {
  const own = { project_id: project.value };
  const [results, approvals] = await Promise.all([
    get<Page<"results", Result>>("/api/results", { ...own, issue_id: issue, limit: 200 }, signal),
    get<Page<"approvals", Approval>>("/api/approvals", { ...own, issue_id: issue, limit: 200 }, signal),
  ]);
  // What came next after the last result of each type.
  const newest = [...new Map([...results.results].reverse().map((result) => [result.agent_type, result])).values()];
  const suggested = await Promise.all(
    newest.slice(-8).map(async (result): Promise<Suggested[]> => {
      type Next = { next_agents: { agent_type: string; priority: string; reason: string }[] };
      const next = await orNothing(get<Next>(`/api/next-agents/${segment(result.id)}`, own, signal));
      return (next?.next_agents ?? []).map((each) => ({ ...each, after: result.agent_id }));
    }),
  );
  const ids = new Set(agents.map((agent) => /^(evt-[\w-]+)#/.exec(agent.cause)?.[1]).filter((id) => id !== undefined));
  const causes = await Promise.all([...ids].slice(0, 100).map((id) => orNothing(readEvent(id, signal))));
  const known = causes.filter((event) => event !== null);
  return {
    results: results.results,
    approvals: approvals.approvals,
    suggested: suggested.flat(),
    causes: new Map(known.map((event) => [event.event_id, event])),
  };
}

function IssuePanel({ issue, agents }: { issue: string; agents: Agent[] }) {
  // Again whenever the agents of the issue change.
  const key = `${issue} ${agents.map((agent) => `${agent.agent_id}${agent.status}${agent.result_id}`).join()}`;
  const { value, problem } = useLoaded(key, (signal) => load(issue, agents, signal));
  const [last, setLast] = useState<Loaded>();
  useEffect(() => {
    if (value) setLast(value);
  }, [value]);
  const { a, b } = params.value;
  const results = last?.results ?? [];
  const chosen = [a, b].map((id) => results.find((result) => result.id === id));
  const cost = agents.reduce((total, agent) => total + (agent.usage?.cost_usd ?? 0), 0);
  const tokens = agents.reduce((total, agent) => total + tokensOf(agent.usage, agent.runner).all, 0);
  const types = [...new Set(agents.map((agent) => agent.agent_type))];
  return (
    <aside class="detail wide" aria-label="Issue">
      <div class="bar">
        <h2>{issue}</h2>
        <button type="button" class="close" aria-label="Close" onClick={() => set({ issue: "", a: "", b: "" })}>
          ✕
        </button>
      </div>
      <div class="scroll-pane" tabIndex={0} role="region" aria-label={`Issue ${issue}`}>
        <Facts
          facts={[
            ["Agents", count(agents.length, "agent")],
            ["Tokens", tokens > 0 && compact(tokens)],
            ["Cost", cost > 0 && dollars(cost)],
            [
              "Context",
              types.map((type) => (
                <a key={type} href={link("context", { issue, type })}>
                  {type}{" "}
                </a>
              )),
            ],
            ["Events", <a href={link("events", { filter: `issue_id:"${issue}"` })}>of this issue</a>],
          ]}
        />
        <Problem text={problem} />
        <h3>How work was handed on</h3>
        <Flow agents={agents} loaded={last} />
        <h3>Decisions</h3>
        <Decisions results={results} />
        <h3>Results</h3>
        {results.length === 0 && <p class="faint">No result is stored yet.</p>}
        {results.length > 1 && <p class="faint">Choose one to read it, and a second one to compare.</p>}
        <Results results={results} />
        <Compared before={chosen[0]} after={chosen[1]} />
        <h3>Worktrees</h3>
        <Worktrees agents={agents} />
        {(last?.approvals.length ?? 0) > 0 && <h3>Approvals</h3>}
        {last?.approvals.map((approval) => (
          <p key={approval.approval_id}>
            <Badge status={approval.status} />{" "}
            <a href={link("team", { agent: approval.requested_by })}>{visible(approval.question)}</a>{" "}
            <Time at={approval.answered_at ?? approval.created_at} />
            {approval.comment && <span class="faint"> {visible(approval.comment)}</span>}
          </p>
        ))}
      </div>
    </aside>
  );
}

function Flow({ agents, loaded }: { agents: Agent[]; loaded: Loaded | undefined }) {
  const drawn = useMemo(() => flow(agents, loaded?.causes ?? new Map(), loaded?.suggested ?? []), [agents, loaded]);
  if (drawn.nodes.length === 0) return <p class="faint">No agents.</p>;
  return (
    <>
      <Graph {...drawn} label="Agents of the issue and who started whom" onOpen={openAgent} />
      {drawn.left > 0 && <p class="faint">{count(drawn.left, "older agent")} not drawn.</p>}
      <details>
        <summary>As a list</summary>
        <ul>
          {drawn.edges.map((edge: Edge) => (
            <li key={`${edge.from} ${edge.to}`}>
              {edge.from} → {edge.to} <span class="faint">{edge.label}</span>
            </li>
          ))}
        </ul>
      </details>
    </>
  );
}

const openAgent = (id: string) => {
  location.hash = link("team", { agent: id });
};

function Decisions({ results }: { results: Result[] }) {
  const made = results.flatMap((result) => (result.result?.decisions ?? []).map((text) => ({ text, result })));
  if (made.length === 0) return <p class="faint">None yet.</p>;
  return (
    <ul>
      {made.map(({ text, result }, index) => (
        <li key={index}>
          {visible(text)} <span class="faint">{result.agent_type}</span>
        </li>
      ))}
    </ul>
  );
}

function Results({ results }: { results: Result[] }) {
  const { a, b } = params.value;
  const choose = (id: string) => {
    if (id === a) set({ a: b, b: "" });
    else if (id === b) set({ b: "" });
    else if (!a) set({ a: id });
    else set({ b: id });
  };
  return (
    <ul class="cards">
      {results.map((result) => (
        <li key={result.id}>
          <button
            type="button"
            class="card"
            aria-pressed={result.id === a || result.id === b}
            onClick={() => choose(result.id)}
          >
            <Badge status={result.result?.status ?? "unspecified"} /> <strong>{result.agent_type}</strong>{" "}
            <Time at={result.timestamp} />
            <br />
            <span class="faint">
              <Line
                text={[...(result.result?.errors ?? []), ...(result.result?.decisions ?? [])].join(" · ") || result.id}
              />
            </span>
          </button>
        </li>
      ))}
    </ul>
  );
}

/** One result, or the difference of two. */
function Compared({ before, after }: { before: Result | undefined; after: Result | undefined }) {
  if (!before) return null;
  if (!after) return <JsonText label={`Result ${before.id}`} value={before.result} />;
  const [first, second] = before.id < after.id ? [before, after] : [after, before];
  const text = difference(JSON.stringify(first.result, null, 2), JSON.stringify(second.result, null, 2));
  const label = `What differs from ${oneLine(first.id)} to ${oneLine(second.id)}`;
  return (
    <>
      <h3>{label}</h3>
      <UnifiedDiff text={text} label={label} />
    </>
  );
}

function Worktrees({ agents }: { agents: Agent[] }) {
  const own = agents.filter((agent) => agent.branch || agent.worktree);
  if (own.length === 0) return <p class="faint">No agent had a worktree of its own.</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Worktrees">
      <table>
        <thead>
          <tr>
            <th>Agent</th>
            <th>Branch</th>
            <th>Directory</th>
          </tr>
        </thead>
        <tbody>
          {own.map((agent) => (
            <tr key={agent.agent_id}>
              <td>
                <a href={link("team", { agent: agent.agent_id, tab: "diff" })}>{agent.agent_type}</a>
              </td>
              <td>{visible(agent.branch)}</td>
              <td>
                {agent.worktree ? visible(agent.worktree) : <span class="faint">removed: merged or discarded</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
