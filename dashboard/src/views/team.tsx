// Who is doing what, and who needs a person.
import { useMemo } from "preact/hooks";
import { params, set } from "../core/route.ts";
import type { Agent } from "../core/types.ts";
import { compact, count, dollars } from "../lib/format.ts";
import { type Group, grouped } from "../lib/groups.ts";
import { tokensOf } from "../lib/usage.ts";
import { oneLine } from "../lib/visible.ts";
import { shared } from "../state/project.ts";
import { MOST_AGENTS, type Team } from "../state/team.ts";
import { Badge, Duration, Line, Problem } from "../ui/basics.tsx";
import { List } from "../ui/list.tsx";
import { AgentPanel } from "./agent.tsx";
import { ApprovalCard } from "./approval.tsx";
import { LastLine } from "./last-line.tsx";

type Row = Agent | { heading: Group; name: string; agents: number };

const NAMES: Record<Group, string> = { attention: "Needs attention", active: "Active", finished: "Finished" };
const ROW = 60;

const isHeading = (row: Row): row is Exclude<Row, Agent> => "heading" in row;

function matches(agent: Agent, words: string[]): boolean {
  const text = [agent.agent_id, agent.issue_id, agent.task, agent.status, agent.branch, agent.reason, agent.model].join(
    " ",
  );
  return words.every((word) => text.toLowerCase().includes(word));
}

export function TeamView() {
  const team = shared.value?.team;
  if (!team) return null;
  return <Agents team={team} />;
}

function Agents({ team }: { team: Team }) {
  const { agent: open, find = "" } = params.value;
  const words = find.toLowerCase().split(/\s+/).filter(Boolean);
  const all = team.all.value;
  const rows = useMemo(() => {
    const groups = grouped(words.length > 0 ? all.filter((agent) => matches(agent, words)) : all);
    return (Object.keys(NAMES) as Group[]).flatMap((group): Row[] =>
      groups[group].length > 0
        ? [{ heading: group, name: NAMES[group], agents: groups[group].length }, ...groups[group]]
        : [],
    );
  }, [all, find]);
  const approvals = team.approvals.value;
  return (
    <div class="split">
      <section class="master" aria-label="Agents">
        <div class="bar">
          <h1>Team</h1>
          <input
            data-filter
            type="search"
            aria-label="Find agents"
            placeholder="Find: type, issue, task, status …"
            value={find}
            onInput={(event) => set({ find: event.currentTarget.value }, true)}
          />
          <span class="faint">{count(all.length, "agent")}</span>
          {!team.complete.value && <span class="faint">(the newest {MOST_AGENTS.toLocaleString("en")})</span>}
        </div>
        <Problem text={team.problem.value} />
        {approvals.length > 0 && (
          <section class="approvals" aria-label="Approvals that wait for you" tabIndex={0}>
            {approvals.map((approval) => (
              <ApprovalCard key={approval.approval_id} approval={approval} onAnswered={() => void team.reload()} />
            ))}
          </section>
        )}
        <List
          label="Agents by what they need"
          items={rows}
          rowHeight={ROW}
          idOf={(row) => (isHeading(row) ? `heading-${row.heading}` : row.agent_id)}
          isHeading={isHeading}
          selected={open}
          onSelect={(row) => !isHeading(row) && set({ agent: row.agent_id, tab: "" })}
          render={(row) => (isHeading(row) ? <Heading row={row} /> : <AgentRow agent={row} />)}
          empty={
            team.loading.value ? (
              "Loading …"
            ) : all.length > 0 ? (
              "No agent matches."
            ) : (
              <>
                No agents yet. Start one with <code>cco agent spawn</code>.
              </>
            )
          }
        />
      </section>
      {open && <AgentPanel key={open} id={open} onClose={() => set({ agent: "", tab: "" })} />}
    </div>
  );
}

function Heading({ row }: { row: Exclude<Row, Agent> }) {
  return (
    <span class={`group ${row.heading}`}>
      {row.name} <span class="faint">{row.agents.toLocaleString("en")}</span>
    </span>
  );
}

export function AgentRow({ agent }: { agent: Agent }) {
  const tokens = tokensOf(agent.usage, agent.runner).all;
  const cost = agent.usage?.cost_usd;
  const attention = agent.status === "needs_input" || agent.status === "stuck" || agent.status === "failed";
  return (
    <div class="agent">
      <Badge status={agent.status} />
      <span class="who">
        <strong>{agent.agent_type}</strong> <span class="faint">{agent.issue_id}</span>
      </span>
      <span class="task" title={oneLine(agent.message || agent.task, 500)}>
        <Line text={agent.message || agent.task || "no task"} />
      </span>
      <span class="branch faint" title={agent.branch}>
        <Line text={agent.branch} />
      </span>
      <span class="figures">
        <span title="tokens">{tokens > 0 ? compact(tokens) : ""}</span>
        <span title="cost">{cost === undefined ? "" : dollars(cost)}</span>
        <span title="time of the latest attempt">
          <Duration from={agent.started_at} to={agent.ended_at} />
        </span>
      </span>
      <span class={attention ? "last attention" : "last faint"}>
        {attention || agent.status === "pending" ? <Line text={agent.reason} /> : <LastLine agent={agent} />}
      </span>
    </div>
  );
}
