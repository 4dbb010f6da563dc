// Which event caused which.
import type { Event } from "../core/types.ts";

export type Node = { event: Event; children: Node[] };

/** Returns the trees of events, oldest first. An event whose cause is not among them is a root; so is one in a circle. */
export function trees(events: Event[]): Node[] {
  const nodes = new Map(events.map((event) => [event.event_id, { event, children: [] as Node[] }]));
  const roots: Node[] = [];
  for (const node of nodes.values()) {
    const cause = nodes.get(node.event.causation_id ?? "");
    // A cause is older than its effect; a claim to the contrary would be a circle.
    if (cause && cause.event.event_id < node.event.event_id) cause.children.push(node);
    else roots.push(node);
  }
  return roots;
}

/** Returns the nodes in the order in which a tree is drawn, with their depths. */
export function flattened(roots: Node[]): { event: Event; depth: number }[] {
  const found: { event: Event; depth: number }[] = [];
  const waiting = roots.map((node) => ({ node, depth: 0 })).reverse();
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    found.push({ event: next.node.event, depth: next.depth });
    for (const child of [...next.node.children].reverse()) waiting.push({ node: child, depth: next.depth + 1 });
  }
  return found;
}
