// Differences: a unified diff of git, or of two texts.
import { diffLines } from "diff";
import { visible } from "../lib/visible.ts";

// More lines are not useful to read here, and slow to draw.
const MOST_LINES = 5000;

/** Returns the class of each line: what a hunk removes may look like the name of a file, so its lines are counted. */
export function classes(lines: string[]): string[] {
  let [before, after] = [0, 0];
  return lines.map((line) => {
    const sign = line[0] ?? " ";
    if (before > 0 || after > 0) {
      if (sign === "\\") return "hunk";
      if (sign !== "+") before -= 1;
      if (sign !== "-") after -= 1;
      return sign === "+" ? "added" : sign === "-" ? "removed" : "";
    }
    const hunk = /^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@/.exec(line);
    if (hunk) {
      [before, after] = [Number(hunk[1] ?? 1), Number(hunk[2] ?? 1)];
      return "hunk";
    }
    if (/^(diff |--- |\+\+\+ )/.test(line)) return "file";
    return sign === "+" ? "added" : sign === "-" ? "removed" : sign === "\\" ? "hunk" : "";
  });
}

/** A unified diff (git-diff(1)). Added and removed lines keep their sign, so that colour is not needed. */
export function UnifiedDiff({ text, label }: { text: string; label: string }) {
  const lines = visible(text.replaceAll("\r\n", "␍\n")).replace(/\n$/, "").split("\n");
  const kinds = classes(lines);
  return (
    <pre class="diff" tabIndex={0} role="region" aria-label={label}>
      {lines.slice(0, MOST_LINES).map((line, index) => (
        <span key={index} class={kinds[index]}>
          {`${line}\n`}
        </span>
      ))}
      {lines.length > MOST_LINES && <span class="hunk">{`${lines.length - MOST_LINES} more lines\n`}</span>}
    </pre>
  );
}

/** Returns the difference of two texts in the form of a unified diff, with three lines around each change. */
export function difference(before: string, after: string): string {
  const parts = diffLines(before, after, { timeout: 2000 });
  if (!parts) return "the texts differ too much to compare\n";
  const lines: string[] = [];
  parts.forEach((part, index) => {
    const sign = part.added ? "+" : part.removed ? "-" : " ";
    const own = part.value.replace(/\n$/, "").split("\n");
    const signed = own.map((line) => sign + line);
    if (sign === " " && own.length > 7) {
      const head = index > 0 ? signed.slice(0, 3) : [];
      const tail = index < parts.length - 1 ? signed.slice(-3) : [];
      lines.push(...head, `@@ ${own.length - head.length - tail.length} equal lines @@`, ...tail);
    } else lines.push(...signed);
    if (sign !== " " && !part.value.endsWith("\n")) lines.push("\\ No newline at end of file");
  });
  return lines.join("\n");
}
