// Figures of the sidecar, sampled while the page is open.
import { signal } from "@preact/signals";
import { get, request } from "../core/api.ts";
import { token } from "../core/session.ts";
import type { Health, Status } from "../core/types.ts";
import { parseMetrics, quantile, type Samples, sum } from "../lib/prometheus.ts";

const EVERY_MS = 5000;
// An hour.
const MOST = 720;

/** One moment. `at` is in seconds since 1970, as uPlot wants it; times are in milliseconds, sizes in bytes. */
export type Sample = {
  at: number;
  lag: number;
  queue: number;
  outbox: number;
  memory: number;
  storage: number;
  published: number;
  requests: number;
  agents: number;
  waiting: number;
};

export const samples = signal<Sample[]>([]);
export const health = signal<Health | null>(null);
export const status = signal<Status | null>(null);
let before: Samples = new Map();
let beforeAt = 0;

/** Returns the figures of a scrape; rates are per second since the one before. */
export function sampleOf(earlier: Samples, later: Samples, seconds: number, at: number): Sample {
  const rate = (name: string) => {
    const grown = sum(later, name) - sum(earlier, name);
    // Counters start again with the process.
    return earlier.size > 0 && grown >= 0 ? grown / seconds : 0;
  };
  return {
    at,
    lag: quantile(earlier, later, "sidecar_event_loop_lag_seconds", 0.99) * 1000,
    queue: sum(later, "sidecar_event_queue_depth"),
    outbox: sum(later, "sidecar_outbox_depth"),
    memory: sum(later, "sidecar_memory_bytes"),
    storage: sum(later, "sidecar_storage_bytes"),
    published: rate("sidecar_events_published_total"),
    requests: rate("sidecar_requests_total"),
    agents: sum(later, "sidecar_active_agents"),
    waiting: sum(later, "sidecar_queued_agents"),
  };
}

async function sample(): Promise<void> {
  if (!token.value || document.hidden) return;
  try {
    const [answer, found, figures] = await Promise.all([
      request("GET", "/metrics", undefined, undefined, "text/plain"),
      get<Health>("/health").catch(() => null),
      get<Status>("/status"),
    ]);
    const later = parseMetrics(await answer.text());
    const at = Date.now() / 1000;
    if (before.size > 0) samples.value = [...samples.value.slice(1 - MOST), sampleOf(before, later, at - beforeAt, at)];
    [before, beforeAt] = [later, at];
    health.value = found;
    status.value = figures;
  } catch {
    // The banner says that the sidecar is away. A hole in the charts says when.
    before = new Map();
  }
}

export function start(): void {
  void sample();
  setInterval(() => void sample(), EVERY_MS);
}
