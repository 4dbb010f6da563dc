/** Calls `act` before the next frame, or soon while the page is hidden and has none. Returns how to call it off. */
export function nextFrame(act: () => void): () => void {
  if (document.hidden) {
    const timer = setTimeout(act, 500);
    return () => clearTimeout(timer);
  }
  const frame = requestAnimationFrame(act);
  return () => cancelAnimationFrame(frame);
}
