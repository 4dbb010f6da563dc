// Tokens and cost, as the agents' programs report them.
import type { Agent, Usage } from "../core/types.ts";
import { dayOf, timeOf } from "./format.ts";

export type Total = { key: string; agents: number; input: number; output: number; cached: number; cost: number };

/** Codex and Gemini count cached tokens as input, Claude does not (as `Usage` documents). */
const COUNTS_CACHED = new Set(["codex", "gemini"]);

/** Returns the tokens of a usage, each once. */
export function tokensOf(
  usage: Usage | undefined,
  runner = "",
): { input: number; output: number; cached: number; all: number } {
  const cached = (usage?.cache_read_tokens ?? 0) + (usage?.cache_creation_tokens ?? 0);
  const input = usage?.input_tokens ?? 0;
  const output = usage?.output_tokens ?? 0;
  const fresh = COUNTS_CACHED.has(runner) ? Math.max(0, input - cached) : input;
  return { input: fresh, output, cached, all: fresh + output + cached };
}

export const DIMENSIONS = ["agent", "type", "issue", "model", "day"] as const;
export type Dimension = (typeof DIMENSIONS)[number];

export function keyOf(agent: Agent, dimension: Dimension): string {
  switch (dimension) {
    case "agent":
      return agent.agent_id;
    case "type":
      return agent.agent_type;
    case "issue":
      return agent.issue_id;
    case "model":
      return agent.model || `${agent.runner} (its default)`;
    case "day":
      return dayOf(timeOf(agent.created_at));
  }
}

/** Returns the totals by a dimension: days in order, all others with the highest cost first. */
export function totals(agents: Iterable<Agent>, dimension: Dimension): Total[] {
  const found = new Map<string, Total>();
  for (const agent of agents) {
    const key = keyOf(agent, dimension);
    const total = found.get(key) ?? { key, agents: 0, input: 0, output: 0, cached: 0, cost: 0 };
    const tokens = tokensOf(agent.usage, agent.runner);
    total.agents += 1;
    total.input += tokens.input;
    total.output += tokens.output;
    total.cached += tokens.cached;
    total.cost += agent.usage?.cost_usd ?? 0;
    found.set(key, total);
  }
  const all = [...found.values()];
  if (dimension === "day") return all.sort((a, b) => (a.key < b.key ? -1 : 1));
  return all.sort((a, b) => b.cost - a.cost || b.output - a.output || (a.key < b.key ? -1 : 1));
}
