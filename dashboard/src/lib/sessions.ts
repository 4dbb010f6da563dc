// The events of a session as the calls of tools that they describe.
import type { SessionEvent } from "../core/types.ts";
import { timeOf } from "./format.ts";

/** A tool call, a message, or a start or stop. `end` is NaN while a tool runs. Times are milliseconds since 1970. */
export type Step = {
  kind: "tool" | "message" | "start" | "stop";
  title: string;
  start: number;
  end: number;
  failed: boolean;
  first: SessionEvent;
  last?: SessionEvent;
};

/** Pairs the start of each tool call with its end: the latest open one of the same tool and input. */
export function steps(events: SessionEvent[]): Step[] {
  const found: Step[] = [];
  const open = new Map<string, Step[]>();
  for (const event of events) {
    const at = timeOf(event.timestamp);
    const key = `${event.tool_name} ${JSON.stringify(event.tool_input ?? null)}`;
    if (event.event_type === "pre_tool") {
      const step: Step = {
        kind: "tool",
        title: event.tool_name,
        start: at,
        end: Number.NaN,
        failed: false,
        first: event,
      };
      const waiting = open.get(key) ?? [];
      waiting.push(step);
      open.set(key, waiting);
      found.push(step);
    } else if (event.event_type === "post_tool") {
      const step = open.get(key)?.pop();
      if (step) Object.assign(step, { end: at, failed: Boolean(event.error), last: event });
      else
        found.push({
          kind: "tool",
          title: event.tool_name,
          start: at,
          end: at,
          failed: Boolean(event.error),
          first: event,
          last: event,
        });
    } else if (event.event_type === "message") {
      found.push({ kind: "message", title: event.role, start: at, end: at, failed: false, first: event });
    } else {
      const stop = event.event_type === "session_stop";
      const failed = stop && (event.exit_code ?? 0) !== 0;
      found.push({ kind: stop ? "stop" : "start", title: event.event_type, start: at, end: at, failed, first: event });
    }
  }
  return found;
}

/** Returns what a tool was called with on one line: its only or most telling argument. */
export function inputLine(event: SessionEvent): string {
  const input = event.tool_input;
  if (input === null || typeof input !== "object" || Array.isArray(input)) return input == null ? "" : String(input);
  for (const name of ["command", "file_path", "path", "pattern", "query", "url", "prompt", "description"]) {
    if (typeof input[name] === "string") return input[name];
  }
  return JSON.stringify(input);
}

export const messageText = (event: SessionEvent): string => (event.content ?? []).map((part) => part.text).join("\n");
