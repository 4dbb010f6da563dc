// The text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats).

export type Samples = Map<string, number>;

/** Returns the samples by their name and labels, exactly as written, such as `sidecar_agents{agent_type="x"}`. */
export function parseMetrics(text: string): Samples {
  const found: Samples = new Map();
  for (const line of text.split("\n")) {
    if (!line || line.startsWith("#")) continue;
    const cut = line.lastIndexOf(" ");
    found.set(line.slice(0, cut), Number(line.slice(cut + 1)));
  }
  return found;
}

/** Returns the sum of all samples of a name, whatever their labels. */
export function sum(samples: Samples, name: string): number {
  let total = 0;
  for (const [key, value] of samples) {
    if (key === name || (key.startsWith(name) && key[name.length] === "{")) total += value;
  }
  return total;
}

/** Returns the upper bound below which a share of what a histogram counted between two scrapes lies; NaN without any. */
export function quantile(before: Samples, after: Samples, name: string, share: number): number {
  const buckets: [number, number][] = [];
  for (const [key, value] of after) {
    const match = key.startsWith(`${name}_bucket{`) ? /le="([^"]+)"/.exec(key) : null;
    if (!match) continue;
    const bound = match[1] === "+Inf" ? Number.POSITIVE_INFINITY : Number(match[1]);
    buckets.push([bound, value - (before.get(key) ?? 0)]);
  }
  buckets.sort((a, b) => a[0] - b[0]);
  const all = buckets.at(-1)?.[1] ?? 0;
  if (all <= 0) return Number.NaN;
  const found = buckets.find(([, counted]) => counted >= share * all)?.[0] ?? Number.NaN;
  return Number.isFinite(found) ? found : (buckets.at(-2)?.[0] ?? Number.NaN);
}
