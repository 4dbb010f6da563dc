// Lines over time, by uPlot; with the newest values as text for those who do not see the picture.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { clockTime, dayOf } from "../lib/format.ts";
import { theme } from "./theme.ts";

const DAYS = [1, 2, 7, 14, 30, 90, 365].map((days) => days * 86_400);
const moment = (seconds: number): string => clockTime(seconds * 1000);
const day = (seconds: number): string => dayOf(seconds * 1000);

export type Series = { name: string; values: (number | null)[]; colour: string };

export function Chart(props: {
  title: string;
  times: number[];
  series: Series[];
  format(value: number): string;
  bars?: boolean;
}) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const data: uPlot.AlignedData = [props.times, ...props.series.map((each) => each.values)];
  const latest = props.series
    .map((each) => {
      const value = each.values.findLast((one) => one !== null && Number.isFinite(one));
      return `${each.name} ${value == null ? "-" : props.format(value)}`;
    })
    .join(", ");

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const style = getComputedStyle(element);
    const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const axis = {
      stroke: colour("faint"),
      grid: { stroke: colour("line"), width: 1 },
      ticks: { stroke: colour("line") },
    };
    const size = () => ({ width: Math.max(120, element.clientWidth), height: 140 });
    const made = new uPlot(
      {
        ...size(),
        legend: { show: false },
        cursor: { drag: { setScale: false } },
        scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.1] } },
        axes: [
          {
            ...axis,
            space: 90,
            ...(props.bars && { incrs: DAYS }),
            values: (_, ticks) => ticks.map(props.bars ? day : moment),
          },
          { ...axis, size: 64, values: (_, ticks) => ticks.map(props.format) },
        ],
        series: [
          {},
          ...props.series.map((each) => ({
            label: each.name,
            stroke: colour(each.colour),
            fill: props.bars ? colour(each.colour) : undefined,
            width: 1.5,
            paths: props.bars ? uPlot.paths.bars?.({ size: [0.8, 60] }) : undefined,
            points: { show: false },
          })),
        ],
      },
      data,
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize(size()));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [theme.value, props.title]);

  useEffect(() => plot.current?.setData(data), [props.times, props.series]);

  return (
    <figure class="chart">
      <figcaption>
        {props.title} <span class="faint">{latest}</span>
      </figcaption>
      <div ref={box} role="img" aria-label={`${props.title}: ${latest}`} />
    </figure>
  );
}
