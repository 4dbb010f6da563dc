// Server-sent events (WHATWG HTML, section 9.2) as the messages that a WebSocket to the same path carries.

type Message = { events?: unknown[]; cursor?: string; gap?: unknown };

/** Returns a parser: given the next piece of text, it returns the messages that are complete. */
export function sseMessages(): (piece: string) => object[] {
  let rest = "";
  return (piece) => {
    const frames = (rest + piece).split("\n\n");
    rest = frames.pop() ?? "";
    return frames.map(messageOf).filter((message) => message !== null);
  };
}

function messageOf(frame: string): object | null {
  let id = "";
  let type = "";
  let data = "";
  for (const line of frame.split("\n")) {
    if (line.startsWith("id: ")) id = line.slice(4);
    else if (line.startsWith("event: ")) type = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (!id) {
    if (!data) return null;
    // A frame without an ID is a whole message: of a log, a gap, or the error that ends the stream.
    return type === "gap" ? { events: [], gap: JSON.parse(data) } : JSON.parse(data);
  }
  const message: Message = { events: data ? [JSON.parse(data)] : [], cursor: id };
  return message;
}
