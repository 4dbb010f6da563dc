// How work went from agent to agent, laid out by dagre.
import dagre from "@dagrejs/dagre";
import type { Agent, Event } from "../core/types.ts";

export type Suggested = { after: string; agent_type: string; priority: string; reason: string };
export type Box = { id: string; title: string; status: string; x: number; y: number };
export type Edge = { from: string; to: string; label: string; dashed: boolean; points: { x: number; y: number }[] };
export type Flow = { nodes: Box[]; edges: Edge[]; width: number; height: number; left: number };

export const WIDTH = 190;
export const HEIGHT = 44;
// More cannot be read, and dagre takes seconds for them.
const MOST = 150;

type Link = { from: string; to: string; label: string; dashed: boolean };

/** Returns who started whom: by a spawn, by a hand-over after an event, by a resume; and who was suggested but not started. */
export function links(agents: Agent[], causes: Map<string, Event>, suggested: Suggested[]): Link[] {
  const known = new Set(agents.map((agent) => agent.agent_id));
  const found: Link[] = [];
  for (const agent of agents) {
    const [event = "", rule = ""] = agent.cause.split("#");
    const cause = causes.get(event);
    const told = cause?.data?.agent_id;
    const by = typeof told === "string" && known.has(told) ? told : cause?.publisher;
    if (by && known.has(by) && by !== agent.agent_id) {
      found.push({ from: by, to: agent.agent_id, label: `${cause?.event_type} (${rule})`, dashed: false });
    } else if (known.has(agent.spawned_by)) {
      found.push({ from: agent.spawned_by, to: agent.agent_id, label: "spawned", dashed: false });
    }
  }
  const started = new Map<string, number>();
  for (const agent of agents) {
    started.set(
      agent.agent_type,
      Math.max(started.get(agent.agent_type) ?? 0, Date.parse(agent.created_at ?? "") || 0),
    );
  }
  const ended = new Map(agents.map((agent) => [agent.agent_id, Date.parse(agent.ended_at ?? "") || 0]));
  for (const next of suggested) {
    // One of that type was started since.
    if ((started.get(next.agent_type) ?? 0) >= (ended.get(next.after) ?? 0) && started.has(next.agent_type)) continue;
    if (known.has(next.after)) {
      found.push({
        from: next.after,
        to: `next: ${next.agent_type}`,
        label: next.reason || next.priority,
        dashed: true,
      });
    }
  }
  return found;
}

export function flow(agents: Agent[], causes: Map<string, Event>, suggested: Suggested[]): Flow {
  const shown = [...agents].sort((a, b) => ((a.created_at ?? "") > (b.created_at ?? "") ? -1 : 1)).slice(0, MOST);
  const drawn = links(shown, causes, suggested);
  const graph = new dagre.graphlib.Graph().setGraph({ rankdir: "LR", nodesep: 14, ranksep: 70 });
  graph.setDefaultEdgeLabel(() => ({}));
  const titles = new Map(
    shown.map((agent) => [agent.agent_id, { title: agent.agent_type, status: agent.status as string }]),
  );
  for (const { to, dashed } of drawn)
    if (dashed) titles.set(to, { title: to.replace("next: ", ""), status: "suggested" });
  for (const id of titles.keys()) graph.setNode(id, { width: WIDTH, height: HEIGHT });
  for (const { from, to } of drawn) graph.setEdge(from, to);
  dagre.layout(graph);
  const size = graph.graph();
  return {
    nodes: [...titles].map(([id, about]) => {
      const { x, y } = graph.node(id) as { x: number; y: number };
      return { id, ...about, x, y };
    }),
    edges: drawn.map((each) => ({ ...each, points: graph.edge(each.from, each.to)?.points ?? [] })),
    width: size.width ?? 0,
    height: size.height ?? 0,
    left: agents.length - shown.length,
  };
}
