// Numbers and times as people read them.

const UNITS: [number, string][] = [
  [86_400, "d"],
  [3600, "h"],
  [60, "m"],
  [1, "s"],
];

/** Returns a duration with its two largest units, such as `3 m 20 s`. */
export function duration(milliseconds: number): string {
  let seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (milliseconds > 0 && milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const parts: string[] = [];
  for (const [size, name] of UNITS) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count > 0) parts.push(`${count} ${name}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ") || "0 s";
}

/** Returns how long ago a time was, with its largest unit, such as `3 m ago`; `in 5 s` for one that is to come. */
export function ago(milliseconds: number): string {
  const [size, name] = UNITS.find(([each]) => Math.abs(milliseconds) / 1000 >= each) ?? [1, "s"];
  const count = Math.floor(Math.abs(milliseconds) / 1000 / size);
  if (count === 0) return "now";
  return milliseconds > 0 ? `${count} ${name} ago` : `in ${count} ${name}`;
}

const ABSOLUTE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const absolute = (milliseconds: number): string => ABSOLUTE.format(milliseconds);
export const clockTime = (milliseconds: number): string => CLOCK.format(milliseconds);

/** Returns a time of another day, such as `11-28 08:54`. */
export const shortDate = (milliseconds: number): string =>
  `${dayOf(milliseconds).slice(5)} ${clockTime(milliseconds).slice(0, 5)}`;

/** Returns a day as YYYY-MM-DD in the time zone of the browser. */
export function dayOf(milliseconds: number): string {
  const at = new Date(milliseconds);
  const two = (number: number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** Returns a number with at most three digits and a suffix, such as `12.4k`. */
export function compact(value: number): string {
  if (!Number.isFinite(value)) return "-";
  for (const [size, suffix] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (Math.abs(value) >= size) return `${three(value / size)}${suffix}`;
  }
  return three(value);
}

function three(value: number): string {
  return value.toFixed(Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
}

/** Returns US dollars with cents, and with more digits for amounts below a cent. */
export function dollars(value: number): string {
  if (value === 0) return "$0.00";
  return Math.abs(value) < 0.01 ? `$${value.toPrecision(2)}` : `$${value.toFixed(2)}`;
}

/** Returns a size with binary units. */
export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, value)) / 10)));
  return `${three(value / 1024 ** power)} ${units[power]}`;
}

/** Returns `1 agent`, `2 agents`. */
export const count = (number: number, noun: string): string =>
  `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

export const timeOf = (text: string | undefined): number => (text ? Date.parse(text) : Number.NaN);
