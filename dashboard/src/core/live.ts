// The events of a project as they happen, over one stream for the whole page: resumed at its cursor, without gap or repeat.
import { signal } from "@preact/signals";
import { token } from "./session.ts";
import { readStream, SILENCE_MS } from "./stream.ts";
import type { Event, Gap } from "./types.ts";

export type Connection = "connecting" | "live" | "lost";

type Batch = {
  events?: Event[];
  cursor?: string;
  gap?: Gap;
};
export type Listener = { events(events: Event[]): void; gap?(gap: Gap): void };

const FIRST_MS = 500;
const MOST_MS = 10_000;

/** Follows the events of a project. `state` and `retryAt` (milliseconds since 1970) say how the connection is. */
export class LiveEvents {
  readonly state = signal<Connection>("connecting");
  readonly retryAt = signal(0);
  /** Why the stream was refused, such as an invalid filter; empty otherwise. */
  readonly problem = signal("");
  private readonly closing = new AbortController();
  private cursor = "";
  // When a connection that worked was last opened again without saying so.
  private quietSince = 0;
  private newest = "";
  private wake: () => void = () => undefined;

  constructor(
    private readonly project: string,
    private readonly listener: Listener,
    private readonly filter = "",
    private readonly last = 1000,
  ) {
    void this.run();
  }

  close(): void {
    this.closing.abort();
    this.wake();
  }

  /** Tries to connect now instead of at `retryAt`. */
  retry(): void {
    this.wake();
  }

  private async run(): Promise<void> {
    let wait = 0;
    while (!this.closing.signal.aborted && token.value) {
      const params = {
        project_id: this.project,
        filter: this.filter,
        since: this.cursor,
        last: this.cursor ? undefined : this.last,
      };
      let opened = false;
      await readStream("/api/events/stream", params, (batch: Batch) => this.receive(batch), this.closing.signal, {
        silenceMs: SILENCE_MS,
        onOpen: () => {
          opened = true;
          this.state.value = "live";
        },
        onRefused: (error) => {
          if (error.status === 400 && this.cursor) this.startOver();
          else if (error.status === 400) this.problem.value = error.message;
        },
      });
      if (this.closing.signal.aborted || this.problem.value) return;
      // The first attempt after a connection that worked is at once, and quiet: the token may only have been renewed.
      if (opened && Date.now() - this.quietSince > MOST_MS) {
        this.quietSince = Date.now();
        wait = 0;
        continue;
      }
      wait = Math.min(MOST_MS, wait * 2 || FIRST_MS);
      this.state.value = "lost";
      this.retryAt.value = Date.now() + wait;
      await this.pause(wait);
    }
  }

  private pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** The sidecar does not know the cursor: it has another log now. */
  private startOver(): void {
    this.listener.gap?.({ since: this.cursor, resumed_after: "", missed: 0 });
    this.cursor = "";
  }

  private receive(batch: Batch): void {
    if (batch.gap && this.cursor) this.listener.gap?.(batch.gap);
    const fresh = (batch.events ?? []).filter((event) => isAfter(event.event_id, this.newest));
    const newest = fresh.at(-1);
    if (newest) {
      this.newest = newest.event_id;
      this.listener.events(fresh);
    }
    if (batch.cursor) this.cursor = batch.cursor;
  }
}

/** Reports whether an event comes after another of the same project. IDs of one log differ in their number only. */
export function isAfter(id: string, other: string): boolean {
  return id.slice(0, 12) !== other.slice(0, 12) || id > other;
}
