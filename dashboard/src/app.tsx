// The frame around the views: navigation, the connection, the keyboard.
import type { ComponentChildren } from "preact";
import { useEffect, useErrorBoundary, useState } from "preact/hooks";
import { now } from "./core/clock.ts";
import { go, link, project, view } from "./core/route.ts";
import { signOut, token } from "./core/session.ts";
import { ago, count } from "./lib/format.ts";
import { visible } from "./lib/visible.ts";
import { shared } from "./state/project.ts";
import { announcement } from "./ui/basics.tsx";
import { helpOpen, KeyboardHelp } from "./ui/help.tsx";
import { onKeyDown } from "./ui/keyboard.ts";
import { openPalette, Palette } from "./ui/palette.tsx";
import { choice, nextTheme } from "./ui/theme.ts";
import { Context } from "./views/context.tsx";
import { Cost } from "./views/cost.tsx";
import { Documents } from "./views/documents.tsx";
import { Events } from "./views/events.tsx";
import { Health } from "./views/health.tsx";
import { Issue } from "./views/issue.tsx";
import { Sessions } from "./views/sessions.tsx";
import { SignIn } from "./views/sign-in.tsx";
import { TeamView } from "./views/team.tsx";

export const VIEWS = [
  { id: "team", name: "Team", component: TeamView },
  { id: "issue", name: "Issues", component: Issue },
  { id: "events", name: "Events", component: Events },
  { id: "context", name: "Context", component: Context },
  { id: "sessions", name: "Sessions", component: Sessions },
  { id: "documents", name: "Documents", component: Documents },
  { id: "cost", name: "Cost", component: Cost },
  { id: "health", name: "Health", component: Health },
] as const;

export function App() {
  useEffect(() => {
    const keys = onKeyDown(VIEWS.map((each) => each.id));
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, []);
  // `issues` is `issue`, and `Team` is `team`.
  const bare = (name: string) => name.toLowerCase().replace(/s$/, "");
  const current = VIEWS.find((each) => bare(each.id) === bare(view.value));
  const waiting = shared.value?.team.approvals.value.length ?? 0;
  useEffect(() => {
    document.title = `${waiting ? `(${waiting}) ` : ""}${current?.name ?? "Not found"} - orchestration sidecar`;
  }, [current, waiting]);
  if (!token.value) return <SignIn />;
  const View = current?.component;
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <Header />
      <main id="main" tabIndex={-1} class={`view-${view.value}`}>
        <Guard key={`${view.value} ${project.value}`}>{View ? <View /> : <NotFound />}</Guard>
      </main>
      <output class="hidden" aria-live="polite">
        {announcement}
      </output>
      <Palette views={VIEWS} />
      {helpOpen.value && <KeyboardHelp views={VIEWS} />}
    </>
  );
}

/** Keeps a fault in one view from ending the page. */
function Guard({ children }: { children: ComponentChildren }) {
  const [error, reset] = useErrorBoundary();
  if (!error) return <>{children}</>;
  return (
    <p class="problem" role="alert">
      This cannot be shown: {visible(String(error.message ?? error))}{" "}
      <button type="button" onClick={reset}>
        Try again
      </button>
    </p>
  );
}

// The address is the state of the page, so the link must not change it.
function skip(event: MouseEvent) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Header() {
  // What is being typed must survive that the header is drawn again.
  const [typed, setTyped] = useState(project.value);
  useEffect(() => setTyped(project.value), [project.value]);
  const waiting = shared.value?.team.approvals.value.length ?? 0;
  return (
    <header class="top">
      <nav aria-label="Views">
        {VIEWS.map((each) => (
          <a key={each.id} href={link(each.id)} aria-current={each.id === view.value ? "page" : undefined}>
            {each.name}
            {each.id === "team" && waiting > 0 && (
              <span class="dot" title={`${count(waiting, "approval")} to answer`}>
                {waiting}
                <span class="hidden"> to answer</span>
              </span>
            )}
          </a>
        ))}
      </nav>
      <Connection />
      <div class="tools">
        <label>
          <span class="hidden">Project</span>
          <input
            class="project"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
            placeholder="default project"
            spellcheck={false}
            onChange={(event) => go(view.value, { project: event.currentTarget.value.trim() })}
          />
        </label>
        <button type="button" onClick={openPalette} title="Commands (Ctrl+K)">
          Commands
        </button>
        <button type="button" onClick={nextTheme} title="Colours: as the system, light, dark">
          {`Colours: ${choice.value}`}
        </button>
        <button type="button" onClick={() => void signOut()}>
          Sign out
        </button>
      </div>
    </header>
  );
}

function Connection() {
  const live = shared.value?.live;
  const state = live?.state.value ?? "connecting";
  if (state !== "lost") {
    return (
      <output class={`connection ${state}`} aria-live="polite">
        {state === "live" ? "Live" : "Connecting …"}
      </output>
    );
  }
  return (
    <output class="connection lost" aria-live="assertive">
      No connection to the sidecar.{" "}
      <span aria-hidden="true">Trying again {ago(now.value - (live?.retryAt.value ?? 0))}. </span>
      <button type="button" onClick={() => live?.retry()}>
        Try now
      </button>
    </output>
  );
}

function NotFound() {
  return (
    <p class="empty">
      There is no view “{view.value}”. <a href={link("team")}>Go to the team</a>
    </p>
  );
}
