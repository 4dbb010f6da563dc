// Differences: a unified diff of git, or of two texts.
import { diffLines } from "diff";
import { visible } from "../lib/visible.ts";

const CLASSES: Record<string, string> = { "+": "added", "-": "removed", "@": "hunk" };
// More lines are not useful to read here, and slow to draw.
const MOST_LINES = 5000;

/** A unified diff (git-diff(1)). Added and removed lines keep their sign, so that colour is not needed. */
export function UnifiedDiff({ text, label }: { text: string; label: string }) {
  const lines = visible(text).replace(/\n$/, "").split("\n");
  return (
    <pre class="diff" tabIndex={0} role="region" aria-label={label}>
      {lines.slice(0, MOST_LINES).map((line, index) => (
        <span
          key={index}
          class={line.startsWith("diff ") || /^(\+\+\+|---) /.test(line) ? "file" : CLASSES[line[0] ?? ""]}
        >
          {`${line}\n`}
        </span>
      ))}
      {lines.length > MOST_LINES && <span class="hunk">{`${lines.length - MOST_LINES} more lines\n`}</span>}
    </pre>
  );
}

/** Returns the difference of two texts in the form of a unified diff, with three lines around each change. */
export function difference(before: string, after: string): string {
  const lines: string[] = [];
  const parts = diffLines(before, after, { timeout: 2000 });
  if (!parts) return "the texts differ too much to compare\n";
  parts.forEach((part, index) => {
    const own = part.value.replace(/\n$/, "").split("\n");
    if (part.added || part.removed) lines.push(...own.map((line) => (part.added ? `+${line}` : `-${line}`)));
    else if (own.length > 7) {
      const head = index > 0 ? own.slice(0, 3) : [];
      const tail = index < parts.length - 1 ? own.slice(-3) : [];
      const skipped = own.length - head.length - tail.length;
      lines.push(...head.map((line) => ` ${line}`), `@@ ${skipped} equal lines @@`, ...tail.map((line) => ` ${line}`));
    } else lines.push(...own.map((line) => ` ${line}`));
  });
  return lines.join("\n");
}
