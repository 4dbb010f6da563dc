// The agents and open approvals of the project, kept current by events and by polling what events do not tell.
import { computed, signal } from "@preact/signals";
import { get, pages, segment } from "../core/api.ts";
import type { Agent, Approval, Event, Page } from "../core/types.ts";
import { isActive } from "../lib/groups.ts";

/** Older agents than these many are not listed; their figures are in `cco agent list`. */
export const MOST_AGENTS = 20_000;
const POLL_MS = 5000;
// From so many changes at once on, the list is read again instead of each agent.
const MANY = 12;
const SETTLE_MS = 250;

export class Team {
  readonly byId = signal<ReadonlyMap<string, Agent>>(new Map());
  readonly approvals = signal<Approval[]>([]);
  /** What the sidecar counts over all projects. */
  readonly load = signal({ running: 0, queued: 0, max: 0 });
  readonly loading = signal(true);
  readonly complete = signal(true);
  readonly problem = signal("");
  readonly all = computed(() => [...this.byId.value.values()]);
  private readonly changed = new Set<string>();
  private settling = 0;
  private timer = 0;
  private closed = false;

  constructor(private readonly project: string) {
    void this.reload();
    this.timer = window.setInterval(() => void this.poll(), POLL_MS);
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    clearTimeout(this.settling);
  }

  /** Reads everything again. */
  async reload(): Promise<void> {
    await Promise.all([this.readAgents(MOST_AGENTS), this.readApprovals()]);
  }

  /** Notes what events say has changed. */
  notice(events: Event[]): void {
    let asked = false;
    for (const event of events) {
      const id = event.data?.agent_id;
      if (typeof id === "string" && id !== "operator" && event.event_type.startsWith("agent_")) this.changed.add(id);
      asked ||= event.event_type.startsWith("approval_");
    }
    if (asked) void this.readApprovals();
    if (this.changed.size > 0 && !this.settling) {
      this.settling = window.setTimeout(() => void this.settle(), SETTLE_MS);
    }
  }

  private async settle(): Promise<void> {
    const ids = [...this.changed];
    this.changed.clear();
    this.settling = 0;
    if (ids.length >= MANY) return this.readAgents(1000);
    const found = await Promise.all(ids.map((id) => get<Agent>(`/api/agents/${segment(id)}`).catch(() => null)));
    // An event names what its publisher likes.
    this.put(found.filter((agent, index) => agent?.agent_id === ids[index]) as Agent[]);
  }

  /** Progress, usage and queue positions are not announced. */
  private async poll(): Promise<void> {
    if (document.hidden || this.loading.value) return;
    const active = this.all.peek().filter(isActive);
    if (active.length > 0) await this.readActive(active).catch(() => undefined);
    if (this.approvals.value.length > 0) await this.readApprovals();
  }

  private async readAgents(most: number): Promise<void> {
    try {
      let count = 0;
      for await (const items of pages<Agent>("/api/agents", "agents", { project_id: this.project }, most)) {
        count += items.length;
        this.put(items);
        this.loading.value = false;
      }
      // An active one below the first page may have ended.
      if (most === 1000 && count >= most) await this.readActive(this.all.peek().filter(isActive));
      if (most === MOST_AGENTS) this.complete.value = count < MOST_AGENTS;
      this.problem.value = "";
    } catch (error) {
      this.problem.value = (error as Error).message;
    }
    this.loading.value = false;
  }

  /** Reads the active agents, and those of `active` that are no longer among them. */
  private async readActive(active: Agent[]): Promise<void> {
    for (const status of ["running", "needs_input", "stuck", "pending"]) {
      for await (const items of pages<Agent>("/api/agents", "agents", { project_id: this.project, status })) {
        this.put(items);
        for (const item of items) active = active.filter((agent) => agent.agent_id !== item.agent_id);
      }
    }
    const ended = await Promise.all(
      active.slice(0, 50).map((agent) => get<Agent>(`/api/agents/${segment(agent.agent_id)}`).catch(() => null)),
    );
    this.put(ended.filter((agent) => agent !== null));
  }

  private put(agents: Agent[]): void {
    if (agents.length === 0 || this.closed) return;
    const next = new Map(this.byId.value);
    for (const agent of agents) next.set(agent.agent_id, agent);
    this.byId.value = next;
  }

  private async readApprovals(): Promise<void> {
    try {
      const page = await get<Page<"approvals", Approval>>("/api/approvals", {
        project_id: this.project,
        status: "pending",
        limit: 100,
      });
      // The oldest first: a new one must not move the others under a pointer.
      if (!this.closed) this.approvals.value = page.approvals.reverse();
    } catch (error) {
      this.problem.value = (error as Error).message;
    }
  }
}
