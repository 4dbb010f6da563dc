// Small pieces that every view uses.
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../core/api.ts";
import { now } from "../core/clock.ts";
import { absolute, ago, clockTime, duration, shortDate } from "../lib/format.ts";
import { onceMore } from "../lib/once-more.ts";
import { oneLine, visible } from "../lib/visible.ts";

/** What a screen reader says next. */
export const announcement = signal("");

const DAY = 86_400_000;

/** A time, relative with the absolute one as its title, or the other way round. */
export function Time({ at, clock = false }: { at: number | string | undefined; clock?: boolean }) {
  const time = typeof at === "string" ? Date.parse(at) : (at ?? Number.NaN);
  if (!Number.isFinite(time)) return <span class="faint">-</span>;
  const relative = ago(now.value - time);
  return (
    <time dateTime={new Date(time).toISOString()} title={clock ? `${absolute(time)} (${relative})` : absolute(time)}>
      {clock ? (now.value - time < DAY ? clockTime(time) : shortDate(time)) : relative}
    </time>
  );
}

/** How long something took, or takes since `from`. */
export function Duration({ from, to }: { from?: string; to?: string }) {
  if (!from) return <span class="faint">-</span>;
  return <span>{duration((to ? Date.parse(to) : now.value) - Date.parse(from))}</span>;
}

const SYMBOLS: Record<string, string> = {
  pending: "○",
  running: "●",
  needs_input: "!",
  stuck: "!",
  completed: "✓",
  finished: "✓",
  success: "✓",
  approved: "✓",
  ok: "✓",
  healthy: "✓",
  failed: "✗",
  denied: "✗",
  broken: "✗",
  unhealthy: "✗",
  warning: "!",
  degraded: "!",
  partial: "~",
  stopped: "■",
};

/** A status as a coloured word with a symbol, so that it can be told without colours. */
export function Badge({ status }: { status: string }) {
  return (
    <span class={`badge ${status}`}>
      <span aria-hidden="true">{SYMBOLS[status] ?? "·"}</span> {status.replaceAll("_", " ")}
    </span>
  );
}

/** A text of an agent on one line. */
export const Line = ({ text, most }: { text: string | undefined; most?: number }) => <>{oneLine(text ?? "", most)}</>;

/** A text of an agent as it is, with what would be invisible made visible. */
export function Text({ children, label }: { children: string; label?: string }) {
  return (
    <pre class="text" tabIndex={0} role="region" aria-label={label ?? "Text"}>
      {visible(children)}
    </pre>
  );
}

/** Any value as indented JSON. */
export const JsonText = ({ value, label }: { value: unknown; label?: string }) => (
  <Text label={label ?? "JSON"}>{JSON.stringify(value, null, 2) ?? "null"}</Text>
);

/** A summary that opens. What is in it is made once it is open: a long list may have thousands. */
export function Details({ summary, children }: { summary: ComponentChildren; children(): ComponentChildren }) {
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{summary}</summary>
      {open && children()}
    </details>
  );
}

export type Tab = { id: string; name: string };

/** A row of tabs (WAI-ARIA, tabs pattern): arrow keys move. */
export function Tabs(props: { tabs: Tab[]; current: string; label: string; onChange(id: string): void }) {
  const at = props.tabs.findIndex((tab) => tab.id === props.current);
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = step && props.tabs[(at + step + props.tabs.length) % props.tabs.length];
    if (!next) return;
    props.onChange(next.id);
    event.preventDefault();
    const list = event.currentTarget as HTMLElement;
    requestAnimationFrame(() => list.querySelector<HTMLElement>("[aria-selected=true]")?.focus());
  };
  return (
    <div class="tabs" role="tablist" aria-label={props.label} onKeyDown={onKeyDown}>
      {props.tabs.map((tab) => (
        <button
          key={tab.id}
          type="button"
          role="tab"
          aria-selected={tab.id === props.current}
          tabIndex={tab.id === props.current ? 0 : -1}
          onClick={() => props.onChange(tab.id)}
        >
          {tab.name}
        </button>
      ))}
    </div>
  );
}

export function Facts({ facts }: { facts: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== "" && value !== undefined && value !== null && value !== false)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

/** A button that runs a call once, and shows why it failed. With `confirm`, it asks first. */
export function Action(props: {
  name: string;
  run(): Promise<unknown>;
  confirm?: string;
  danger?: boolean;
  primary?: boolean;
  disabled?: boolean;
}) {
  const [state, setState] = useState<"idle" | "asking" | "running">("idle");
  const [problem, setProblem] = useState("");
  const act = async () => {
    setState("running");
    setProblem("");
    try {
      await props.run();
    } catch (error) {
      setProblem((error as Error).message);
    }
    setState("idle");
  };
  if (state === "asking") {
    return (
      <span class="asking" role="group" aria-label={props.confirm}>
        {props.confirm} <button type="button" class="danger" onClick={act}>{`Yes, ${props.name.toLowerCase()}`}</button>{" "}
        <button type="button" onClick={() => setState("idle")}>
          No
        </button>
      </span>
    );
  }
  return (
    <span>
      <button
        type="button"
        class={props.danger ? "danger" : props.primary ? "primary" : ""}
        disabled={props.disabled || state === "running"}
        onClick={() => (props.confirm ? setState("asking") : void act())}
      >
        {state === "running" ? `${props.name} …` : props.name}
      </button>
      {problem && (
        <span class="problem" role="alert">
          {" Not done: "}
          {visible(problem)}
        </span>
      )}
    </span>
  );
}

export type Loaded<T> = { value: T | undefined; problem: string; reload(): void; loading: boolean };

/**
 * Loads something when `key` changes, and again on `reload`: once more after the one under way, however often it is asked.
 * What was loaded for another key is dropped.
 */
export function useLoaded<T>(key: string, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ key: string; value?: T; problem: string }>({ key: "", problem: "" });
  const reload = useRef(() => {});
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const abort = new AbortController();
    const run = onceMore(async () => {
      try {
        const value = await latest.current(abort.signal);
        if (!abort.signal.aborted) setState({ key, value, problem: "" });
      } catch (error) {
        const problem = (error as Error).message;
        if (!abort.signal.aborted) setState((old) => ({ ...(old.key === key ? old : {}), key, problem }));
      }
      return !abort.signal.aborted;
    });
    reload.current = run;
    run();
    return () => abort.abort();
  }, [key]);
  const own = state.key === key;
  return {
    value: own ? state.value : undefined,
    problem: own ? state.problem : "",
    loading: !own,
    reload: () => reload.current(),
  };
}

export function Problem({ text }: { text: string }) {
  return text ? (
    <p class="problem" role="alert">
      {visible(text)}
    </p>
  ) : null;
}

/** Runs a call, and treats "not found" as nothing. */
export async function orNothing<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}
