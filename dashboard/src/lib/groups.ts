// The three groups of the team, and what a person should look at first.
import type { Agent } from "../core/types.ts";
import { timeOf } from "./format.ts";

export type Group = "attention" | "active" | "finished";

const ACTIVE = new Set(["pending", "running", "needs_input", "stuck"]);

export const isActive = (agent: Agent): boolean => ACTIVE.has(agent.status);

/** Returns when the newest agent of each issue was spawned. */
export function newestByIssue(agents: Iterable<Agent>): Map<string, number> {
  const newest = new Map<string, number>();
  for (const agent of agents) {
    const key = `${agent.project_id}/${agent.issue_id}`;
    newest.set(key, Math.max(newest.get(key) ?? 0, timeOf(agent.created_at) || 0));
  }
  return newest;
}

/**
 * Returns the group of an agent. One that waits for a person or is stuck needs attention; so does one that failed while
 * nothing was started for its issue since.
 */
export function groupOf(agent: Agent, newest: Map<string, number>): Group {
  if (agent.status === "needs_input" || agent.status === "stuck") return "attention";
  if (isActive(agent)) return "active";
  if (agent.status !== "failed") return "finished";
  const later = newest.get(`${agent.project_id}/${agent.issue_id}`) ?? 0;
  return later > (timeOf(agent.ended_at) || timeOf(agent.created_at)) ? "finished" : "attention";
}

/** Returns the agents of each group: those that wait longest first in `attention`, the newest first in the others. */
export function grouped(agents: Iterable<Agent>): Record<Group, Agent[]> {
  const all = [...agents];
  const newest = newestByIssue(all);
  const found: Record<Group, Agent[]> = { attention: [], active: [], finished: [] };
  for (const agent of all) found[groupOf(agent, newest)].push(agent);
  found.attention.sort((a, b) => timeOf(a.status_since) - timeOf(b.status_since));
  found.active.sort((a, b) => timeOf(b.created_at) - timeOf(a.created_at));
  found.finished.sort((a, b) => (timeOf(b.ended_at) || 0) - (timeOf(a.ended_at) || 0));
  return found;
}
