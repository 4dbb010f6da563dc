// The events of the project in memory: the newest 100,000, without their data, which is read when one is opened.
import { signal } from "@preact/signals";
import { get } from "../core/api.ts";
import { nextFrame } from "../core/frame.ts";
import { isAfter, type Listener } from "../core/live.ts";
import type { Event, Gap, Page } from "../core/types.ts";
import { Ring } from "../lib/ring.ts";
import { oneLine } from "../lib/visible.ts";

export const MOST_EVENTS = 100_000;
const PAGE = 1000;

/** One line of the timeline. `at` is in milliseconds since 1970. A gap is a line too: `missed` events are gone. */
export type Row = {
  id: string;
  at: number;
  type: string;
  topic: string;
  publisher: string;
  issue: string;
  correlation: string;
  summary: string;
  missed?: number;
};

/** A part of a text keeps the whole of it in memory, unless it is copied. */
const copied = (text: string): string => structuredClone(text);

export function rowOf(event: Event): Row {
  const { issue_id: issue, ...data } = event.data ?? {};
  return {
    id: event.event_id,
    at: Date.parse(event.timestamp ?? ""),
    type: event.event_type,
    topic: event.topic,
    publisher: event.publisher,
    issue: typeof issue === "string" ? issue : "",
    correlation: event.correlation_id,
    summary: Object.keys(data).length > 0 ? copied(oneLine(JSON.stringify(data), 160)) : "",
  };
}

export class Timeline {
  private readonly ring = new Ring<Row>(MOST_EVENTS);
  /** Grows with every change; what reads `rows` reads it first. */
  readonly version = signal(0);
  readonly loadingOlder = signal(false);
  /** Whether everything that is retained, or as much as fits, is here. */
  readonly whole = signal(false);
  private telling = false;
  private closed = false;

  constructor(
    readonly project: string,
    readonly filter = "",
  ) {}

  get rows(): readonly Row[] {
    return this.ring.items;
  }

  close(): void {
    this.closed = true;
  }

  asListener(): Listener {
    return { events: (events) => this.append(events), gap: (gap) => this.gap(gap) };
  }

  append(events: Event[]): void {
    // A page of older ones may have been read before the stream began with the newest.
    const last = this.ring.items.findLast((row) => !row.missed)?.id ?? "";
    this.ring.append(events.filter((event) => isAfter(event.event_id, last)).map(rowOf));
    this.touch();
  }

  gap(gap: Gap): void {
    const at = this.ring.items.at(-1)?.at ?? Date.now();
    const missed = gap.missed || 1;
    const summary = gap.missed ? `${gap.missed} events are no longer retained` : "events are no longer retained";
    const row = {
      id: `gap-${this.version.value}-${gap.resumed_after}`,
      at,
      type: "gap",
      topic: "",
      publisher: "",
      issue: "",
      correlation: "",
    };
    this.ring.append([{ ...row, summary, missed }]);
    this.touch();
  }

  /** Reads older events, a page at a time, until all that are retained or fit are here, or the view is closed. */
  async loadOlder(): Promise<void> {
    if (this.loadingOlder.value || this.whole.value) return;
    this.loadingOlder.value = true;
    try {
      while (!this.closed) {
        const first = this.ring.items.find((row) => !row.missed);
        const params = { project_id: this.project, filter: this.filter, limit: PAGE, before: first?.id };
        const page = await get<Page<"events", Event>>("/api/events", params);
        // The stream may have begun meanwhile.
        if (!first && this.ring.items.some((row) => !row.missed)) continue;
        if (page.events.length === 0 || !this.ring.prepend(page.events.map(rowOf))) {
          this.whole.value = true;
          break;
        }
        this.touch();
      }
    } catch {
      // The banner says that the sidecar is away; opening the view again continues.
    }
    this.loadingOlder.value = false;
  }

  /** Tells the views, once per frame however many batches arrive. */
  private touch(): void {
    if (this.telling) return;
    this.telling = true;
    nextFrame(() => {
      this.telling = false;
      this.version.value += 1;
    });
  }
}
