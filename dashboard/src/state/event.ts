import { get, segment } from "../core/api.ts";
import { project } from "../core/route.ts";
import type { Event } from "../core/types.ts";

/** Reads one retained event. */
export async function readEvent(id: string, signal?: AbortSignal): Promise<Event> {
  return (await get<{ event: Event }>(`/api/events/id/${segment(id)}`, { project_id: project.value }, signal)).event;
}
