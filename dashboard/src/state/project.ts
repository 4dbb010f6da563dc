// What all views share: the team and the events of the project in the address.
import { effect, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { LiveEvents } from "../core/live.ts";
import { project } from "../core/route.ts";
import { token } from "../core/session.ts";
import type { Event } from "../core/types.ts";
import { Team } from "./team.ts";
import { Timeline } from "./timeline.ts";

export type Shared = { team: Team; timeline: Timeline; live: LiveEvents };

/** Null while nobody is signed in. */
export const shared = signal<Shared | null>(null);
const listeners = new Set<(events: Event[]) => void>();

/** Calls `act` when events of a topic that a view is about arrive, at most every half second. */
export function useEvents(topic: string, concerns: (event: Event) => boolean, act: () => void): void {
  const latest = useRef({ concerns, act });
  latest.current = { concerns, act };
  useEffect(() => {
    let timer = 0;
    const hear = (events: Event[]) => {
      if (timer || !events.some((event) => event.topic === topic && latest.current.concerns(event))) return;
      timer = window.setTimeout(() => {
        timer = 0;
        latest.current.act();
      }, 500);
    };
    listeners.add(hear);
    return () => {
      clearTimeout(timer);
      listeners.delete(hear);
    };
  }, []);
}

export function start(): void {
  effect(() => {
    const name = project.value;
    if (!token.value) {
      if (shared.peek()) stop();
      return;
    }
    // A renewed token goes on with the same state.
    if (shared.peek()?.timeline.project === name) return;
    stop();
    const team = new Team(name);
    const timeline = new Timeline(name);
    let wasLost = false;
    const live = new LiveEvents(name, {
      events(events) {
        timeline.append(events);
        team.notice(events);
        for (const listener of listeners) listener(events);
      },
      gap: (gap) => timeline.gap(gap),
    });
    effect(() => {
      if (live.state.value === "lost") wasLost = true;
      else if (live.state.value === "live" && wasLost) {
        wasLost = false;
        void team.reload();
      }
    });
    shared.value = { team, timeline, live };
  });
}

function stop(): void {
  const current = shared.peek();
  current?.live.close();
  current?.team.close();
  current?.timeline.close();
  shared.value = null;
}
