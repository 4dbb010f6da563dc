// What happened: the timeline with its filter and scrubber, causes, dead letters, consumers.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, post, remove, segment } from "../core/api.ts";
import { LiveEvents } from "../core/live.ts";
import { link, params, project, set } from "../core/route.ts";
import type { Consumer, DeadLetter, Event, Page } from "../core/types.ts";
import { flattened, trees } from "../lib/causes.ts";
import { absolute, clockTime, count } from "../lib/format.ts";
import { visible } from "../lib/visible.ts";
import { readEvent } from "../state/event.ts";
import { shared } from "../state/project.ts";
import { type Row, Timeline } from "../state/timeline.ts";
import { Action, Facts, JsonText, Line, Problem, Tabs, Time, useLoaded } from "../ui/basics.tsx";
import { List } from "../ui/list.tsx";
import { Scrubber } from "../ui/scrubber.tsx";

const TABS = [
  { id: "timeline", name: "Timeline" },
  { id: "consumers", name: "Consumers" },
  { id: "dead", name: "Dead letters" },
];

export function Events() {
  const tab = params.value.tab || "timeline";
  return (
    <div class="column">
      <div class="bar">
        <h1>Events</h1>
        <Tabs label="Events" tabs={TABS} current={tab} onChange={(to) => set({ tab: to === "timeline" ? "" : to })} />
      </div>
      {tab === "timeline" && <TimelineTab />}
      {tab === "consumers" && <Consumers />}
      {tab === "dead" && <DeadLetters />}
    </div>
  );
}

/** The timeline of the page, or one of its own for a filter. */
function useTimeline(filter: string): { timeline: Timeline | undefined; problem: string } {
  const [own, setOwn] = useState<{ timeline: Timeline; live: LiveEvents }>();
  useEffect(() => {
    if (!filter) {
      setOwn(undefined);
      return;
    }
    const timeline = new Timeline(project.value, filter);
    const live = new LiveEvents(project.value, timeline.asListener(), filter);
    setOwn({ timeline, live });
    return () => {
      live.close();
      timeline.close();
    };
  }, [filter]);
  const shown = filter ? own?.timeline : shared.value?.timeline;
  return { timeline: shown, problem: (filter && own?.live.problem.value) || "" };
}

function TimelineTab() {
  const { filter = "", event: open } = params.value;
  const [typed, setTyped] = useState(filter);
  useEffect(() => setTyped(filter), [filter]);
  const { timeline, problem } = useTimeline(filter);
  useEffect(() => void timeline?.loadOlder(), [timeline]);
  return (
    <div class="split">
      <section class="master" aria-label="Timeline">
        <form
          class="bar"
          onSubmit={(event) => {
            event.preventDefault();
            set({ filter: typed.trim(), event: "" });
          }}
        >
          <input
            data-filter
            type="search"
            class="grow"
            spellcheck={false}
            aria-label="Filter, in the filter language"
            placeholder="Filter: event_type:tests_*,status:failed|status:partial,coverage:>90"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
          <button type="submit">Filter</button>
          {filter && (
            <button type="button" onClick={() => set({ filter: "", event: "" })}>
              Clear
            </button>
          )}
        </form>
        <Problem text={problem} />
        {timeline && <TimelineList timeline={timeline} open={open} />}
      </section>
      {open && <EventPanel key={open} id={open} />}
    </div>
  );
}

const SPEEDS = [1, 10, 60, 600];

function TimelineList({ timeline, open }: { timeline: Timeline; open: string | undefined }) {
  const version = timeline.version.value;
  // The moment to which a replay has come, in milliseconds since 1970; none shows everything as it comes.
  const [until, setUntil] = useState(Number(params.value.at) || null);
  const settle = (at: number | null) => {
    setUntil(at);
    set({ at: at === null ? "" : String(Math.round(at)) }, true);
  };
  const [speed, setSpeed] = useState(0);
  const rows = timeline.rows;
  const shown = useMemo(() => (until === null ? rows : rows.slice(0, firstAfter(rows, until))), [version, until, rows]);
  const bounds = useRef({ first: 0, last: 0 });
  bounds.current = { first: rows[0]?.at ?? 0, last: rows.at(-1)?.at ?? 0 };
  useEffect(() => {
    if (!speed) return;
    let at = until ?? bounds.current.first;
    let before = performance.now();
    let frame = 0;
    const step = (time: number) => {
      at += Math.max(0, time - before) * speed;
      before = time;
      if (at >= bounds.current.last) {
        settle(null);
        setSpeed(0);
        return;
      }
      setUntil(at);
      frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
    return () => cancelAnimationFrame(frame);
  }, [speed]);
  return (
    <>
      <div class="bar replay">
        <Scrubber rows={rows} version={version} until={until} onMove={setUntil} onSettled={settle} />
        <span class="buttons" role="group" aria-label="Replay">
          {SPEEDS.map((each) => (
            <button
              key={each}
              type="button"
              aria-pressed={speed === each}
              onClick={() => setSpeed(speed === each ? 0 : each)}
            >
              {`▶ ${each}×`}
            </button>
          ))}
          <button type="button" disabled={until === null} onClick={() => [setSpeed(0), settle(null)]}>
            Now
          </button>
        </span>
        <span class="faint" aria-live="off">
          {until === null
            ? count(rows.length, "event")
            : `${clockTime(until)}, ${shown.length} of ${count(rows.length, "event")}`}
          {timeline.loadingOlder.value && ", reading older ones …"}
        </span>
      </div>
      <List
        label="Events, oldest first"
        items={shown}
        rowHeight={28}
        follow
        idOf={(row) => row.id}
        selected={open}
        onSelect={(row) => !row.missed && set({ event: row.id })}
        onTop={() => void timeline.loadOlder()}
        render={(row) => <EventRow row={row} />}
        empty={timeline.filter ? "No event matches." : "No events. Publish one with cco events publish."}
      />
    </>
  );
}

/** Returns the index of the first row after a moment, by bisection. */
export function firstAfter(rows: readonly { at: number }[], moment: number): number {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rows[middle]?.at ?? 0) <= moment) low = middle + 1;
    else high = middle;
  }
  return low;
}

function EventRow({ row }: { row: Row }) {
  if (row.missed) return <span class="gap">{row.summary}</span>;
  return (
    <span class="event">
      <Time at={row.at} clock />
      <strong>{row.type}</strong>
      <span class="topic faint">{row.topic}</span>
      <span class="publisher">{row.publisher}</span>
      <span class="issue faint">{visible(row.issue)}</span>
      <span class="summary faint">{row.summary}</span>
    </span>
  );
}

function EventPanel({ id }: { id: string }) {
  const { value: event, problem } = useLoaded(id, (signal) => readEvent(id, signal));
  return (
    <aside class="detail" aria-label="Event">
      <div class="bar">
        <h2>{event?.event_type ?? id}</h2>
        <button type="button" class="close" aria-label="Close" onClick={() => set({ event: "" })}>
          ✕
        </button>
      </div>
      <div class="scroll-pane" tabIndex={0} role="region" aria-label="Event">
        <Problem text={problem} />
        {event && <EventFacts event={event} />}
      </div>
    </aside>
  );
}

function EventFacts({ event }: { event: Event }) {
  const issue = event.data?.issue_id;
  return (
    <>
      <Facts
        facts={[
          ["ID", <code>{event.event_id}</code>],
          ["Time", absolute(Date.parse(event.timestamp ?? ""))],
          ["Topic", event.topic],
          ["Publisher", <a href={link("team", { agent: event.publisher })}>{event.publisher}</a>],
          ["Issue", typeof issue === "string" && <a href={link("issue", { issue })}>{issue}</a>],
          ["State key", event.state_key],
          ["Correlation", event.correlation_id && visible(event.correlation_id)],
          ["Trace", event.traceparent],
        ]}
      />
      <JsonText value={event.data ?? {}} label="Data" />
      <h3>Causes and effects</h3>
      <Causes event={event} />
    </>
  );
}

function Causes({ event }: { event: Event }) {
  const correlation = event.correlation_id || event.event_id;
  const { value, problem } = useLoaded(correlation, async (signal) => {
    const own = { project_id: project.value, limit: 1000 };
    const related = await get<Page<"events", Event>>("/api/events", { ...own, correlation_id: correlation }, signal);
    const ids = new Set(related.events.map((each) => each.event_id));
    // The event that began it has no correlation ID of its own: its ID is that of the others.
    for (const id of [correlation, event.causation_id ?? "", event.event_id]) {
      if (!/^evt-/.test(id) || ids.has(id)) continue;
      const found = await readEvent(id, signal).catch(() => null);
      if (found) related.events.unshift(found);
      ids.add(id);
    }
    return related.events.sort((a, b) => (a.event_id < b.event_id ? -1 : 1));
  });
  const lines = useMemo(() => flattened(trees(value ?? [])), [value]);
  return (
    <>
      <Problem text={problem} />
      <ul class="tree">
        {lines.map(({ event: each, depth }) => (
          <li
            key={each.event_id}
            style={{ marginInlineStart: `${Math.min(depth, 12) * 18}px` }}
            aria-current={each.event_id === event.event_id}
          >
            <span aria-hidden="true">{depth > 0 ? "└ " : ""}</span>
            <a href={link("events", { ...params.value, event: each.event_id })}>{each.event_type}</a>{" "}
            <span class="faint">
              {each.publisher}, <Time at={each.timestamp} clock />
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}

function Consumers() {
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTurn((old) => old + 1), 3000);
    return () => clearInterval(timer);
  }, []);
  const [shown, setShown] = useState<Consumer[]>();
  const { value, problem } = useLoaded(`consumers ${turn}`, (signal) =>
    get<{ consumers: Consumer[] }>("/api/consumers", { project_id: project.value }, signal),
  );
  useEffect(() => {
    if (value) setShown(value.consumers);
  }, [value]);
  return (
    <div class="scroll-pane" tabIndex={0} role="region" aria-label="Consumers">
      <Problem text={problem} />
      <table>
        <thead>
          <tr>
            <th>Consumer</th>
            <th>Selects</th>
            <th class="number">Lag</th>
            <th class="number">In flight</th>
            <th class="number">Dead letters</th>
            <th>Workers</th>
            <th>Last used</th>
          </tr>
        </thead>
        <tbody>
          {shown?.map((each) => (
            <tr key={each.name}>
              <th scope="row">{each.name}</th>
              <td>
                <Line
                  text={
                    [
                      ...(each.settings?.event_types ?? []),
                      ...(each.settings?.topics ?? []),
                      each.settings?.filter ?? "",
                    ]
                      .filter(Boolean)
                      .join(", ") || "all events"
                  }
                />
              </td>
              <td class="number">{each.lag.toLocaleString("en")}</td>
              <td class="number">{each.in_flight_count}</td>
              <td class="number">
                {each.dead_letter_count > 0 ? (
                  <a href={link("events", { tab: "dead", consumer: each.name })}>{each.dead_letter_count}</a>
                ) : (
                  0
                )}
              </td>
              <td>{[...new Set(each.workers)].join(", ")}</td>
              <td>
                <Time at={each.used_at ?? each.created_at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {shown?.length === 0 && <p class="empty">No consumers.</p>}
    </div>
  );
}

function DeadLetters() {
  const { consumer = "" } = params.value;
  const { value, problem, reload } = useLoaded(`dead ${consumer}`, (signal) =>
    get<Page<"dead_letters", DeadLetter>>(
      "/api/dead-letters",
      { project_id: project.value, consumer, limit: 500 },
      signal,
    ),
  );
  const letters = value?.dead_letters ?? [];
  const own = { project_id: project.value };
  return (
    <div class="scroll-pane" tabIndex={0} role="region" aria-label="Dead letters">
      {consumer && (
        <p>
          Of {consumer}. <a href={link("events", { tab: "dead" })}>Of all consumers</a>
        </p>
      )}
      <Problem text={problem} />
      {letters.map((letter) => (
        <details key={letter.dead_letter_id} class="card">
          <summary>
            <strong>{letter.event?.event_type}</strong> for {letter.consumer}, {count(letter.attempts, "attempt")},{" "}
            <Time at={letter.failed_at} />: <Line text={letter.reason} />
          </summary>
          <JsonText value={letter.event} label="Event" />
          <div class="actions">
            <Action
              name={letter.replaying ? "Being delivered" : "Deliver again"}
              primary
              disabled={letter.replaying}
              run={() =>
                post(`/api/consumers/${segment(letter.consumer)}/replay`, {
                  ...own,
                  dead_letter_ids: [letter.dead_letter_id],
                }).then(reload)
              }
            />
            <Action
              name="Delete"
              danger
              confirm="Delete this dead letter?"
              run={() => remove(`/api/dead-letters/${segment(letter.dead_letter_id)}`, own).then(reload)}
            />
          </div>
        </details>
      ))}
      {value && letters.length === 0 && <p class="empty">No dead letters.</p>}
    </div>
  );
}
