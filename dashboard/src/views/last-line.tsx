// What an agent last said: its progress, or the last line that its program wrote.
import { useEffect, useState } from "preact/hooks";
import { request, segment } from "../core/api.ts";
import type { Agent, LogLine } from "../core/types.ts";
import { said } from "../lib/said.ts";
import { terminal } from "../lib/visible.ts";
import { Line } from "../ui/basics.tsx";

const EVERY_MS = 5000;
// Of the rows in sight, so many ask at the same time.
const MOST_AT_ONCE = 4;
let asking = 0;

export function LastLine({ agent }: { agent: Agent }) {
  const [line, setLine] = useState("");
  const runs = agent.status === "running" && !agent.progress?.message;
  useEffect(() => {
    if (!runs) return;
    const abort = new AbortController();
    const look = async () => {
      if (asking >= MOST_AT_ONCE || document.hidden) return;
      asking += 1;
      try {
        const path = `/api/agents/${segment(agent.agent_id)}/logs?tail=1`;
        const text = await (await request("GET", path, undefined, abort.signal, "application/x-ndjson")).text();
        const lines = text
          .split("\n")
          .filter(Boolean)
          .flatMap((each) => (JSON.parse(each).lines ?? []) as LogLine[]);
        setLine(said(lines.at(-1)?.text ?? ""));
      } catch {
        // The next time.
      } finally {
        asking -= 1;
      }
    };
    // Rows that come into sight while scrolling do not ask at once.
    const first = setTimeout(look, 300 + Math.random() * 700);
    const timer = setInterval(look, EVERY_MS);
    return () => {
      abort.abort();
      clearTimeout(first);
      clearInterval(timer);
    };
  }, [agent.agent_id, runs]);
  if (runs) return <Line text={terminal(line)} />;
  if (agent.status === "running") return <Line text={agent.progress?.message} />;
  return <Line text={terminal(said(agent.last_output?.at(-1) ?? "")) || agent.reason} />;
}
