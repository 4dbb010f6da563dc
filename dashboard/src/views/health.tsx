// How the sidecar is, over time, and what the doctor finds.
import { useMemo } from "preact/hooks";
import { get } from "../core/api.ts";
import type { Finding } from "../core/types.ts";
import { bytes, compact, duration } from "../lib/format.ts";
import { visible } from "../lib/visible.ts";
import { health, type Sample, samples, status } from "../state/health.ts";
import { Badge, Facts, Problem, Time, useLoaded } from "../ui/basics.tsx";
import { Chart, type Series } from "../ui/chart.tsx";

const milliseconds = (value: number): string => `${compact(value)} ms`;

const CHARTS: { title: string; lines: [keyof Sample, string, string][]; format(value: number): string }[] = [
  { title: "Event loop lag, 99th percentile", lines: [["lag", "lag", "accent"]], format: milliseconds },
  {
    title: "Queue depth",
    lines: [
      ["queue", "events", "accent"],
      ["outbox", "announcements", "warn"],
    ],
    format: compact,
  },
  {
    title: "Events and calls a second",
    lines: [
      ["published", "events", "accent"],
      ["requests", "calls", "warn"],
    ],
    format: compact,
  },
  {
    title: "Agents",
    lines: [
      ["agents", "active", "accent"],
      ["waiting", "waiting", "warn"],
    ],
    format: compact,
  },
  { title: "Memory", lines: [["memory", "resident", "accent"]], format: bytes },
  { title: "Storage", lines: [["storage", "used", "accent"]], format: bytes },
];

export function Health() {
  const found = health.value;
  const figures = status.value;
  return (
    <div class="column">
      <div class="bar">
        <h1>Health</h1>
        {found && <Badge status={found.status} />}
      </div>
      <div class="scroll-pane" tabIndex={0} role="region" aria-label="Health">
        {found && (
          <Facts
            facts={[
              ["Version", found.version],
              ["Up", duration(found.uptime_seconds * 1000)],
              ["Storage", <Badge status={found.checks?.storage ?? "unspecified"} />],
              ["Event bus", <Badge status={found.checks?.event_bus ?? "unspecified"} />],
              ["Free disk space", bytes((found.checks?.disk_space_available_mb ?? 0) * 2 ** 20)],
              ["Storage directory", figures?.storage?.storage_path],
              ["Stored", figures?.storage && bytes(figures.storage.total_size_mb * 2 ** 20)],
              [
                "Response time, 99th percentile",
                figures?.performance && milliseconds(figures.performance.p99_response_time_ms),
              ],
              ["Failed calls a minute", figures?.performance && compact(figures.performance.errors_per_minute)],
              ["Subscriptions", figures?.events?.active_subscriptions],
            ]}
          />
        )}
        {(figures?.storage?.problems ?? []).map((problem) => (
          <Problem key={problem} text={problem} />
        ))}
        <Charts />
        <Findings />
      </div>
    </div>
  );
}

function Charts() {
  const all = samples.value;
  const times = useMemo(() => all.map((sample) => sample.at), [all]);
  if (all.length < 2)
    return <p class="faint">The charts begin when the page is opened; the first figures come within ten seconds.</p>;
  return (
    <div class="charts">
      {CHARTS.map(({ title, lines, format }) => {
        const series: Series[] = lines.map(([key, name, colour]) => ({
          name,
          colour,
          values: all.map((sample) => (Number.isFinite(sample[key]) ? sample[key] : null)),
        }));
        return <Chart key={title} title={title} times={times} series={series} format={format} />;
      })}
    </div>
  );
}

function Findings() {
  const { value, problem, loading, reload } = useLoaded("findings", (signal) =>
    get<{ findings: Finding[]; checked_at?: string }>("/api/findings", {}, signal),
  );
  return (
    <section aria-label="What the doctor says">
      <h2>What cco doctor says</h2>
      <Problem text={problem} />
      {loading && <p class="faint">Checking …</p>}
      {value && (
        <>
          <p class="faint">
            Checked <Time at={value.checked_at} />.{" "}
            <button type="button" onClick={reload}>
              Check again
            </button>
          </p>
          <table>
            <tbody>
              {value.findings.map((finding, index) => (
                <tr key={index}>
                  <td>
                    <Badge status={finding.level} />
                  </td>
                  <th scope="row">{finding.name}</th>
                  <td>
                    {visible(finding.text)}
                    {finding.fix && <div class="fix">Fix: {visible(finding.fix)}</div>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </section>
  );
}
