// How many events there were over time, and the moment that is shown: a picture below a slider.
import { useEffect, useRef } from "preact/hooks";
import { absolute } from "../lib/format.ts";
import { theme } from "./theme.ts";

const BINS = 200;

/** Returns the number of events in each of `bins` equal parts of the time from the first to the last. */
export function histogram(rows: readonly { at: number }[], bins: number): number[] {
  const counts = new Array<number>(bins).fill(0);
  const first = rows[0]?.at ?? 0;
  const width = ((rows.at(-1)?.at ?? 0) - first || 1) / bins;
  for (const row of rows) {
    const bin = Math.max(0, Math.min(bins - 1, Math.floor((row.at - first) / width)));
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return counts;
}

type Props = {
  rows: readonly { at: number }[];
  version: number;
  until: number | null;
  onMove(until: number | null): void;
  /** Called once the slider is let go. */
  onSettled(until: number | null): void;
};

export function Scrubber({ rows, version, until, onMove, onSettled }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawn = useRef(0);
  const first = rows[0]?.at ?? 0;
  const last = rows.at(-1)?.at ?? 0;
  useEffect(() => {
    // Counting 100,000 events takes milliseconds: twice a second is enough.
    const wait = Math.max(0, 500 - (performance.now() - drawn.current));
    const timer = setTimeout(() => {
      drawn.current = performance.now();
      const element = canvas.current;
      const context = element?.getContext("2d");
      if (!element || !context) return;
      const counts = histogram(rows, BINS);
      const most = Math.max(1, ...counts);
      context.clearRect(0, 0, BINS, 30);
      context.fillStyle = getComputedStyle(element).getPropertyValue("--accent");
      counts.forEach((number, bin) => {
        const height = number > 0 ? Math.max(1, (number / most) * 30) : 0;
        context.fillRect(bin, 30 - height, 0.8, height);
      });
    }, wait);
    return () => clearTimeout(timer);
  }, [version, theme.value, rows]);
  const at = until ?? last;
  const moment = (event: { currentTarget: HTMLInputElement }) => {
    const share = Number(event.currentTarget.value) / 1000;
    return share >= 1 ? null : first + share * (last - first);
  };
  return (
    <span class="scrubber">
      <canvas ref={canvas} width={BINS} height={30} aria-hidden="true" />
      <input
        type="range"
        aria-label="Moment that is shown"
        aria-valuetext={until === null ? "now" : absolute(at)}
        min={0}
        max={1000}
        value={last > first ? Math.round(((at - first) / (last - first)) * 1000) : 1000}
        onInput={(event) => onMove(moment(event))}
        onChange={(event) => onSettled(moment(event))}
      />
    </span>
  );
}
