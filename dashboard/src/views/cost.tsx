// Tokens and cost, as the programs of the agents report them.
import { useMemo } from "preact/hooks";
import { link, params, set } from "../core/route.ts";
import { compact, count, dollars } from "../lib/format.ts";
import { DIMENSIONS, type Dimension, type Total, totals } from "../lib/usage.ts";
import { visible } from "../lib/visible.ts";
import { shared } from "../state/project.ts";
import { Tabs } from "../ui/basics.tsx";
import { Chart } from "../ui/chart.tsx";

const NAMES: Record<Dimension, string> = { agent: "Agent", type: "Type", issue: "Issue", model: "Model", day: "Day" };
const MOST_ROWS = 500;

export function Cost() {
  const team = shared.value?.team;
  const by = DIMENSIONS.find((each) => each === params.value.by) ?? "type";
  const agents = team?.all.value ?? [];
  const rows = useMemo(() => totals(agents, by), [agents, by]);
  const days = useMemo(() => totals(agents, "day"), [agents]);
  const all = rows.reduce((sum, row) => sum + row.cost, 0);
  const most = Math.max(...rows.map((row) => row.cost), 1e-9);
  const shown = by === "day" ? [...rows].reverse() : rows;
  const chart = useMemo(
    () => ({
      times: days.map((day) => Date.parse(`${day.key}T12:00`) / 1000),
      series: [{ name: "cost", values: days.map((day) => day.cost), colour: "accent" }],
    }),
    [days],
  );
  return (
    <div class="column">
      <div class="bar">
        <h1>Cost</h1>
        <Tabs
          label="Cost by"
          tabs={DIMENSIONS.map((id) => ({ id, name: NAMES[id] }))}
          current={by}
          onChange={(to) => set({ by: to === "type" ? "" : to })}
        />
        <span class="faint">
          {dollars(all)} by {count(agents.length, "agent")}
          {team && !team.complete.value && ", the newest"}
        </span>
      </div>
      <div class="scroll-pane" tabIndex={0} role="region" aria-label="Cost">
        {days.length > 1 && (
          <Chart title="Cost by day" times={chart.times} series={chart.series} format={dollars} bars />
        )}
        <table>
          <thead>
            <tr>
              <th>{NAMES[by]}</th>
              <th class="number">Agents</th>
              <th class="number">Input</th>
              <th class="number">Output</th>
              <th class="number">Cached</th>
              <th class="number">Cost</th>
              <th>Share</th>
            </tr>
          </thead>
          <tbody>
            {shown.slice(0, MOST_ROWS).map((row) => (
              <tr key={row.key}>
                <th scope="row">
                  <Key row={row} by={by} />
                </th>
                <td class="number">{row.agents}</td>
                <td class="number">{compact(row.input)}</td>
                <td class="number">{compact(row.output)}</td>
                <td class="number">{compact(row.cached)}</td>
                <td class="number">{dollars(row.cost)}</td>
                <td>
                  <meter min={0} max={1} value={row.cost / most} aria-label={`share of ${row.key}`} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {rows.length > MOST_ROWS && <p class="faint">{`and ${count(rows.length - MOST_ROWS, "more row")}`}</p>}
        <p class="faint">
          An agent counts on the day on which it was spawned. What a program does not report counts as nothing: some
          report no cost. Input is without what the provider had cached.
        </p>
      </div>
    </div>
  );
}

function Key({ row, by }: { row: Total; by: Dimension }) {
  if (by === "agent") return <a href={link("team", { agent: row.key })}>{row.key}</a>;
  if (by === "issue") return <a href={link("issue", { issue: row.key })}>{row.key}</a>;
  return <>{visible(row.key)}</>;
}
