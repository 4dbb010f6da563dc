// Conversations with agents: their tool calls short, over time, or whole.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, post, segment } from "../core/api.ts";
import { link, params, project, set } from "../core/route.ts";
import type { Page, Session, SessionEvent } from "../core/types.ts";
import { clockTime, count, dollars, duration } from "../lib/format.ts";
import { onceMore } from "../lib/once-more.ts";
import { inputLine, messageText, type Step, steps } from "../lib/sessions.ts";
import { terminal, visible } from "../lib/visible.ts";
import { shared, useEvents } from "../state/project.ts";
import { Action, Badge, Details, Facts, JsonText, Line, Problem, Tabs, Text, Time, useLoaded } from "../ui/basics.tsx";
import { List } from "../ui/list.tsx";
import { Markdown } from "../ui/markdown.tsx";

const TABS = [
  { id: "compact", name: "Compact" },
  { id: "timeline", name: "Timeline" },
  { id: "history", name: "Full history" },
];
const STATUSES = ["", "pending", "running", "finished", "failed", "stopped"];

export function Sessions() {
  const { session: open, find = "", status = "" } = params.value;
  const [known, setKnown] = useState<Session[]>();
  const connected = shared.value?.live.state.value;
  const { value, problem, reload } = useLoaded(`sessions ${status} ${connected}`, (signal) =>
    get<Page<"sessions", Session>>("/api/sessions", { project_id: project.value, status, limit: 1000 }, signal),
  );
  useEffect(() => {
    if (value) setKnown(value.sessions);
  }, [value]);
  useEvents("sessions", (event) => !/_tool$|^message$/.test(event.event_type), reload);
  const words = find.toLowerCase();
  const shown = (known ?? []).filter((each) =>
    `${each.name} ${each.blueprint} ${each.issue_id}`.toLowerCase().includes(words),
  );
  return (
    <div class="split">
      <section class="master" aria-label="Sessions">
        <div class="bar">
          <h1>Sessions</h1>
          <input
            data-filter
            type="search"
            aria-label="Find sessions"
            placeholder="Find a session …"
            value={find}
            onInput={(event) => set({ find: event.currentTarget.value }, true)}
          />
          <select aria-label="Status" value={status} onChange={(event) => set({ status: event.currentTarget.value })}>
            {STATUSES.map((each) => (
              <option key={each} value={each}>
                {each || "any status"}
              </option>
            ))}
          </select>
        </div>
        <Problem text={problem} />
        <List
          label="Sessions, the newest first"
          items={shown}
          rowHeight={52}
          idOf={(each) => each.session_id}
          selected={open}
          onSelect={(each) => set({ session: each.session_id })}
          render={(each) => (
            <div class="two-lines">
              <span>
                <Badge status={each.status} /> <strong>{visible(each.name)}</strong>
              </span>
              <span class="faint">
                {each.blueprint && `${each.blueprint}, `}
                {count(each.event_count, "event")}, <Time at={each.modified_at} />
              </span>
            </div>
          )}
          empty={known ? "No sessions." : "Loading …"}
        />
      </section>
      {open && <SessionPanel key={open} id={open} />}
    </div>
  );
}

function SessionPanel({ id }: { id: string }) {
  const tab = params.value.tab || "compact";
  const own = { project_id: project.value };
  const [events, setEvents] = useState<SessionEvent[]>([]);
  const [session, setSession] = useState<Session>();
  const [problem, setProblem] = useState("");
  const path = `/api/sessions/${segment(id)}`;
  const known = useRef<SessionEvent[]>([]);
  const more = useRef(
    onceMore(async () => {
      try {
        setSession(await get<Session>(path, own));
        for (;;) {
          const last = known.current.at(-1)?.sequence ?? 0;
          const params = { ...own, after: last, limit: 1000 };
          const page = await get<{ events: SessionEvent[]; more_available?: boolean }>(`${path}/events`, params);
          known.current = known.current.concat(page.events.filter((event) => event.sequence > last));
          if (!page.more_available || page.events.length === 0) break;
        }
        setEvents(known.current);
        setProblem("");
      } catch (error) {
        setProblem((error as Error).message);
      }
      return true;
    }),
  ).current;
  const connected = shared.value?.live.state.value;
  useEffect(() => void more(), [connected]);
  useEvents("sessions", (event) => event.data?.session_id === id, more);
  const calls = useMemo(() => steps(events), [events]);
  return (
    <aside class="detail wide" aria-label="Session">
      <div class="bar">
        <h2>{visible(session?.name ?? id)}</h2>
        <button type="button" class="close" aria-label="Close" onClick={() => set({ session: "" })}>
          ✕
        </button>
      </div>
      <Problem text={problem} />
      {session && <SessionFacts session={session} onDone={more} />}
      <Tabs
        label="Session"
        tabs={TABS}
        current={tab}
        onChange={(to) => set({ tab: to === "compact" ? "" : to }, true)}
      />
      <div class="scroll-pane" tabIndex={0} role="region" aria-label="Events of the session">
        {tab === "compact" && <Compact steps={calls} />}
        {tab === "timeline" && <Over steps={calls} />}
        {tab === "history" && <History events={events} />}
        {events.length === 0 && <p class="empty">No events yet.</p>}
      </div>
    </aside>
  );
}

function SessionFacts({ session, onDone }: { session: Session; onDone(): void }) {
  const path = `/api/sessions/${segment(session.session_id)}`;
  const [prompt, setPrompt] = useState("");
  const runs = session.status === "running" || session.status === "pending";
  return (
    <>
      <Facts
        facts={[
          [
            "Status",
            <>
              <Badge status={session.status} /> {visible(session.reason)}
            </>,
          ],
          ["Agent", session.agent_id && <a href={link("team", { agent: session.agent_id })}>{session.agent_id}</a>],
          [
            "Started by",
            session.parent_session_id && (
              <a href={link("sessions", { session: session.parent_session_id })}>{session.parent_session_id}</a>
            ),
          ],
          ["Directory", visible(session.project_dir)],
          ["Turns", session.usage?.turns],
          ["Cost", session.usage?.cost_usd !== undefined && dollars(session.usage.cost_usd)],
        ]}
      />
      {!session.external && (
        <div class="actions">
          {runs ? (
            <Action
              name="Stop"
              danger
              confirm="Stop this session?"
              run={() => post(`${path}/stop`, { project_id: session.project_id }).then(onDone)}
            />
          ) : (
            <>
              <label>
                <span class="hidden">Prompt</span>
                <input placeholder="Prompt" value={prompt} onInput={(event) => setPrompt(event.currentTarget.value)} />
              </label>
              <Action
                name="Resume"
                primary
                disabled={!prompt.trim()}
                run={() => post(`${path}/resume`, { prompt, project_id: session.project_id }).then(onDone)}
              />
            </>
          )}
        </div>
      )}
    </>
  );
}

/** A line for each tool call, with how long it took; messages in between. */
function Compact({ steps: all }: { steps: Step[] }) {
  return (
    <ol class="steps">
      {all.map((step, index) => (
        <li key={index} class={step.failed ? "failed" : undefined}>
          {step.kind === "tool" ? (
            <Details
              summary={
                <>
                  <span aria-hidden="true">{step.failed ? "✗" : Number.isNaN(step.end) ? "●" : "✓"}</span>{" "}
                  <strong>{visible(step.title)}</strong>{" "}
                  <code>
                    <Line text={inputLine(step.first)} />
                  </code>{" "}
                  <span class="faint">
                    {Number.isNaN(step.end) ? "running" : duration(step.end - step.start)}
                    {step.failed && ", failed"}
                  </span>
                </>
              }
            >
              {() => <ToolCall step={step} />}
            </Details>
          ) : step.kind === "message" ? (
            <div class={`message ${step.first.role}`}>
              <span class="faint">{step.first.role}</span>
              <Markdown text={messageText(step.first)} />
            </div>
          ) : (
            <span>
              <strong>{step.kind === "start" ? "Started" : "Ended"}</strong> {visible(step.first.reason ?? "")}{" "}
              {step.first.exit_code !== undefined && `exit code ${step.first.exit_code}`}{" "}
              <span class="faint">{clockTime(step.start)}</span>
            </span>
          )}
        </li>
      ))}
    </ol>
  );
}

function ToolCall({ step }: { step: Step }) {
  return (
    <>
      <JsonText value={step.first.tool_input} label="Input" />
      {step.last?.error && <Text label="Error">{step.last.error}</Text>}
      {step.last &&
        (typeof step.last.tool_output === "string" ? (
          <Text label="Output">{terminal(step.last.tool_output)}</Text>
        ) : (
          <JsonText value={step.last.tool_output} label="Output" />
        ))}
      {(step.first.truncated || step.last?.truncated) && (
        <p class="faint">Long texts are cut here; the output of the agent has all of them.</p>
      )}
    </>
  );
}

/** A bar for each step, over the time of the session. */
function Over({ steps: all }: { steps: Step[] }) {
  const first = all[0]?.start ?? 0;
  const last = all.reduce((most, step) => Math.max(most, Number.isNaN(step.end) ? Date.now() : step.end), first + 1);
  const place = (at: number) => ((at - first) / (last - first)) * 100;
  return (
    <ol class="over">
      {all.map((step, index) => {
        const end = Number.isNaN(step.end) ? last : step.end;
        const what =
          step.kind === "tool"
            ? `${step.title} ${inputLine(step.first)}`
            : step.kind === "message"
              ? `${step.title}: ${messageText(step.first)}`
              : step.title;
        return (
          <li key={index}>
            <span class="name">
              <Line text={what} most={80} />
            </span>
            <span class="track" title={`${clockTime(step.start)}, ${duration(end - step.start)}`}>
              <span
                class={`span ${step.kind} ${step.failed ? "failed" : ""}`}
                style={{
                  left: `min(${place(step.start)}%, 100% - 3px)`,
                  width: `max(3px, ${place(end) - place(step.start)}%)`,
                }}
              />
            </span>
            <span class="faint number">
              {step.kind === "tool" ? duration(end - step.start) : clockTime(step.start)}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

function History({ events }: { events: SessionEvent[] }) {
  return (
    <ol class="history">
      {events.map((event) => (
        <li key={event.sequence}>
          <Details
            summary={
              <>
                <span class="faint">{event.sequence}</span> <Time at={event.timestamp} clock />{" "}
                <strong>{event.event_type}</strong> <Line text={event.tool_name || event.role || event.reason} />
              </>
            }
          >
            {() => <JsonText value={event} label={`Event ${event.sequence}`} />}
          </Details>
        </li>
      ))}
    </ol>
  );
}
