// What an agent would get to read: which files, why, and the text itself.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, segment } from "../core/api.ts";
import { params, project, set } from "../core/route.ts";
import type { Candidate, ContextResponse } from "../core/types.ts";
import { bytes, compact, count } from "../lib/format.ts";
import { layout, type Tile } from "../lib/tiles.ts";
import { visible } from "../lib/visible.ts";
import { shared } from "../state/project.ts";
import { Facts, JsonText, Line, Problem, Tabs, Text, Time, useLoaded } from "../ui/basics.tsx";
import { List } from "../ui/list.tsx";

const TABS = [
  { id: "map", name: "Map" },
  { id: "scores", name: "Scores" },
  { id: "text", name: "Text" },
  { id: "json", name: "JSON" },
];
const MOST_CANDIDATES = 1000;

type Loaded = { context: ContextResponse; candidates: Candidate[]; asked: Wanted };
type Wanted = { issue: string; type: string; task: string; budget: string };

async function load(wanted: Wanted, signal: AbortSignal): Promise<Loaded> {
  const path = `/api/context/${segment(wanted.issue)}/${segment(wanted.type)}`;
  const own = { project_id: project.value, task: wanted.task, max_bytes: wanted.budget };
  const [context, explained] = await Promise.all([
    get<ContextResponse>(path, own, signal),
    get<{ candidates: Candidate[] }>(`${path}/explain`, { ...own, limit: MOST_CANDIDATES }, signal),
  ]);
  return { context, candidates: explained.candidates, asked: wanted };
}

export function Context() {
  const { issue = "", type = "", task = "", budget = "128000", tab = "map" } = params.value;
  const agents = shared.value?.team.all.value ?? [];
  const issues = useMemo(() => [...new Set(agents.map((agent) => agent.issue_id))].slice(0, 200), [agents]);
  const types = useLoaded("types", () => get<{ agent_types: { type: string }[] }>("/api/agent-types"));
  const [typed, setTyped] = useState<Wanted>({ issue, type, task, budget });
  useEffect(() => setTyped({ issue, type, task, budget }), [issue, type, task, budget]);
  const ready = issue !== "" && type !== "";
  const { value, problem, loading } = useLoaded(JSON.stringify([issue, type, task, budget]), async (signal) =>
    ready ? load({ issue, type, task, budget }, signal) : undefined,
  );
  const change = (changes: Partial<Wanted>) => setTyped({ ...typed, ...changes });
  return (
    <div class="column">
      <form
        class="bar"
        onSubmit={(event) => {
          event.preventDefault();
          set({ ...typed, file: "" });
        }}
      >
        <h1>Context</h1>
        <label>
          Issue{" "}
          <input
            list="issues"
            data-filter
            required
            value={typed.issue}
            onInput={(e) => change({ issue: e.currentTarget.value })}
          />
        </label>
        <datalist id="issues">
          {issues.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
        <label>
          Agent type{" "}
          <input list="types" required value={typed.type} onInput={(e) => change({ type: e.currentTarget.value })} />
        </label>
        <datalist id="types">
          {types.value?.agent_types.map((each) => (
            <option key={each.type} value={each.type} />
          ))}
        </datalist>
        <label class="grow">
          Task{" "}
          <input
            class="grow"
            value={typed.task}
            onInput={(e) => change({ task: e.currentTarget.value })}
            placeholder="what it is asked to do"
          />
        </label>
        <label>
          Budget{" "}
          <input
            type="number"
            min="4096"
            max="10485760"
            value={typed.budget}
            onInput={(e) => change({ budget: e.currentTarget.value })}
          />{" "}
          bytes
        </label>
        <button type="submit" class="primary">
          Show
        </button>
      </form>
      <Problem text={problem} />
      {ready && loading && <p class="empty">Building the context …</p>}
      {!ready && <p class="empty">Name an issue and an agent type to see what such an agent gets.</p>}
      {value && (
        <>
          <div class="bar">
            <Tabs label="Context" tabs={TABS} current={tab} onChange={(to) => set({ tab: to })} />
            <Totals loaded={value} />
          </div>
          {tab === "map" && <TreeMap loaded={value} />}
          {tab === "scores" && <Scores candidates={value.candidates} />}
          {tab === "text" && <AsGiven context={value.context} />}
          {tab === "json" && (
            <div class="scroll-pane" tabIndex={0} role="region" aria-label="JSON">
              <JsonText value={value.context} />
            </div>
          )}
        </>
      )}
    </div>
  );
}

function Totals({ loaded }: { loaded: Loaded }) {
  const by: Record<string, number> = {};
  for (const entry of loaded.context.manifest?.entries ?? []) {
    by[entry.disposition] = (by[entry.disposition] ?? 0) + (entry.files || 1);
  }
  const size = (loaded.context.manifest?.entries ?? []).reduce(
    (sum, each) => sum + (each.disposition === "left_out" ? 0 : each.bytes),
    0,
  );
  return (
    <span class="faint">
      {Object.entries(by)
        .map(([name, number]) => `${number.toLocaleString("en")} ${name.replace("_", " ")}`)
        .join(", ")}
      {`, ${bytes(size)}`}
      {loaded.context.total_tokens !== undefined && `, ${compact(loaded.context.total_tokens)} tokens`}
    </span>
  );
}

function TreeMap({ loaded }: { loaded: Loaded }) {
  const chosen = params.value.file;
  const box = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setSize({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const entries = loaded.context.manifest?.entries ?? [];
  const tiles = useMemo(() => layout(entries, size.width, size.height), [loaded, size]);
  const entry = entries.find((each) => each.path === chosen);
  return (
    <div class="split">
      <section class="master map" aria-label="Map of the files">
        <p class="legend">
          <span class="key included" /> in the context <span class="key cut" /> shortened <span class="key left_out" />{" "}
          left out. The area is the size; the list of all is in Scores.
        </p>
        <div class="map-box" ref={box}>
          <svg width={size.width} height={size.height} role="group" aria-label="Files by size">
            {tiles.map((tile) => (
              <MapTile key={tile.path} tile={tile} chosen={tile.path === chosen} />
            ))}
          </svg>
        </div>
      </section>
      {entry && (
        <aside class="detail" aria-label="File">
          <div class="bar">
            <h2>{visible(entry.path)}</h2>
            <button type="button" class="close" aria-label="Close" onClick={() => set({ file: "" })}>
              ✕
            </button>
          </div>
          <div class="scroll-pane" tabIndex={0} role="region" aria-label="File">
            <Facts
              facts={[
                ["In the context", entry.disposition.replace("_", " ")],
                ["Why", entry.reason.replaceAll("_", " ")],
                ["Size", bytes(entry.bytes)],
                ["Files", entry.files > 1 && entry.files],
                ["Score", entry.score?.toFixed(3)],
                [
                  "Masked secrets",
                  (entry.masked_secrets ?? []).map((each) => `line ${each.line}: ${each.rule}`).join(", "),
                ],
              ]}
            />
            <Signals candidate={loaded.candidates.find((each) => each.path === entry.path)} />
            {loaded.context.context?.relevant_files
              .filter((file) => file.path === entry.path)
              .map((file) => (
                <Text key={file.path} label="Its text in the context">
                  {file.content}
                </Text>
              ))}
          </div>
        </aside>
      )}
    </div>
  );
}

function MapTile({ tile, chosen }: { tile: Tile; chosen: boolean }) {
  const open = () => set({ file: tile.path });
  const width = Math.max(0, tile.x1 - tile.x0);
  const height = Math.max(0, tile.y1 - tile.y0);
  const about = `${visible(tile.path)}, ${tile.disposition.replace("_", " ")}, ${bytes(tile.size)}`;
  return (
    <g
      class={`tile ${tile.disposition}`}
      role="button"
      aria-pressed={chosen}
      aria-label={about}
      tabindex={0}
      onClick={open}
      onKeyDown={(event) => event.key === "Enter" && open()}
    >
      <title>{about}</title>
      <svg x={tile.x0} y={tile.y0} width={width} height={height}>
        <rect width={width} height={height} />
        {height > 16 && width > 24 && (
          <text x="4" y="13">
            {visible(tile.path.split("/").at(-1) ?? "")}
          </text>
        )}
      </svg>
    </g>
  );
}

/** What the score of a file is made of, as bars. */
function Signals({ candidate }: { candidate: Candidate | undefined }) {
  const signals = Object.entries(candidate?.signals ?? {}).sort((a, b) => b[1] - a[1]);
  if (!candidate || signals.length === 0) return null;
  const most = Math.max(...signals.map(([, value]) => Math.abs(value)), 1e-9);
  return (
    <table class="signals">
      <caption>Signals (times {candidate.factor.toFixed(2)})</caption>
      <tbody>
        {signals.map(([name, value]) => (
          <tr key={name}>
            <th scope="row">{name.replaceAll("_", " ")}</th>
            <td>
              <meter min={0} max={1} value={Math.abs(value) / most} aria-label={name} />
            </td>
            <td class="number">{value.toFixed(3)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Scores({ candidates }: { candidates: Candidate[] }) {
  const open = params.value.file;
  return (
    <div class="split">
      <section class="master" aria-label="Scores">
        <p class="faint">{count(candidates.length, "file")}, the best first.</p>
        <List
          label="Files by score"
          items={candidates}
          rowHeight={30}
          idOf={(each) => each.path}
          selected={open}
          onSelect={(each) => set({ file: each.path })}
          render={(each) => (
            <span class="candidate">
              <span class={`key ${each.disposition}`} title={each.disposition.replace("_", " ")} />
              <span class="number">{each.score?.toFixed(3) ?? "-"}</span>
              <span class="path">
                <Line text={each.path} />
              </span>
              <span class="faint">{each.reason.replaceAll("_", " ")}</span>
              <span class="faint number">{bytes(each.size)}</span>
            </span>
          )}
        />
      </section>
      {open && (
        <aside class="detail" aria-label="File">
          <div class="bar">
            <h2>{visible(open)}</h2>
            <button type="button" class="close" aria-label="Close" onClick={() => set({ file: "" })}>
              ✕
            </button>
          </div>
          <Signals candidate={candidates.find((each) => each.path === open)} />
          {candidates
            .filter((each) => each.path === open && each.lines?.length > 0)
            .map((each) => (
              <p key={each.path}>
                Lines {each.lines.map((range) => `${range.first}-${range.last}`).join(", ")} of {each.line_count}
              </p>
            ))}
        </aside>
      )}
    </div>
  );
}

/** The context in the order in which an agent reads it. */
function AsGiven({ context }: { context: ContextResponse }) {
  const given = context.context;
  return (
    <div class="scroll-pane" tabIndex={0} role="region" aria-label="Text of the context">
      {(given?.previous_agent_outputs.length ?? 0) > 0 && <h2>What other agents found</h2>}
      {given?.previous_agent_outputs.map((output, index) => (
        <section key={index} class="card">
          <strong>{output.agent_type}</strong> <span class="faint">{visible(output.agent)}</span>
          <Text label="Decision">
            {[output.decision, output.rationale, ...(output.errors ?? []), ...(output.next_steps ?? [])]
              .filter(Boolean)
              .join("\n")}
          </Text>
        </section>
      ))}
      {(given?.knowledge?.length ?? 0) > 0 && <h2>What the project has learned</h2>}
      {given?.knowledge?.map((entry) => (
        <Text key={entry.entry_id} label={entry.kind}>
          {entry.text}
        </Text>
      ))}
      <h2>Files</h2>
      {given?.relevant_files.map((file) => (
        <details key={file.path} open={file.content.length < 4000}>
          <summary>
            <strong>{visible(file.path)}</strong>{" "}
            <span class="faint">
              {file.language}, {bytes(file.content.length)}
            </span>
          </summary>
          <Text label={visible(file.path)}>{file.content}</Text>
        </details>
      ))}
      <h2>History</h2>
      <ul>
        {given?.git_context?.recent_commits.map((commit) => (
          <li key={commit.hash}>
            <code>{commit.hash.slice(0, 10)}</code> <Line text={commit.message} />{" "}
            <span class="faint">
              <Time at={commit.timestamp} />
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}
