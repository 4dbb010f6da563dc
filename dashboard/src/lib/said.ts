/** Returns what a line of a program says: of a line of JSON, as `claude --output-format stream-json` prints, its text. */
export function said(line: string): string {
  if (!line.startsWith("{")) return line;
  try {
    const value = JSON.parse(line);
    const parts = value.message?.content;
    const texts = Array.isArray(parts) ? parts.map((part) => part.text ?? (part.name && `${part.name} …`)) : [];
    return [value.result, value.text, ...texts].find((text) => typeof text === "string" && text) ?? line;
  } catch {
    return line;
  }
}
