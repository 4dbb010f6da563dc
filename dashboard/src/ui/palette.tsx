// Commands by name: views, agents, issues, actions.
import { signal } from "@preact/signals";
import { useMemo, useState } from "preact/hooks";
import { go } from "../core/route.ts";
import { signOut } from "../core/session.ts";
import { score } from "../lib/fuzzy.ts";
import { oneLine } from "../lib/visible.ts";
import { shared } from "../state/project.ts";
import { Dialog } from "./dialog.tsx";
import { helpOpen } from "./help.tsx";
import { nextTheme } from "./theme.ts";

type Command = { id: string; name: string; about: string; run(): void };

const open = signal(false);
const MOST = 50;

export function openPalette(): void {
  open.value = true;
}

export function Palette({ views }: { views: readonly { id: string; name: string }[] }) {
  return open.value ? <Open views={views} /> : null;
}

function commands(views: readonly { id: string; name: string }[]): Command[] {
  const agents = shared.peek()?.team.all.peek() ?? [];
  const issues = [...new Set(agents.map((agent) => agent.issue_id))];
  return [
    ...views.map((each) => ({ id: `view-${each.id}`, name: each.name, about: "view", run: () => go(each.id) })),
    { id: "theme", name: "Change colours", about: "light, dark, as the system", run: nextTheme },
    {
      id: "keys",
      name: "Keyboard",
      about: "help",
      run: () => {
        helpOpen.value = true;
      },
    },
    { id: "out", name: "Sign out", about: "ends this browser session", run: () => void signOut() },
    ...issues.map((issue) => ({
      id: `issue-${issue}`,
      name: issue,
      about: "issue",
      run: () => go("issue", { issue }),
    })),
    ...agents.map((agent) => ({
      id: agent.agent_id,
      name: agent.agent_id,
      about: `${agent.status.replace("_", " ")}, ${agent.issue_id}: ${oneLine(agent.task, 80)}`,
      run: () => go("team", { agent: agent.agent_id }),
    })),
  ];
}

function Open({ views }: { views: readonly { id: string; name: string }[] }) {
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const loading = shared.value?.team.loading.value;
  const all = useMemo(() => commands(views), [loading]);
  const search = (text: string) =>
    all
      .map((command) => ({ command, points: Math.max(score(text, command.name), score(text, command.about) / 2) }))
      .filter((each) => each.points > 0)
      .sort((a, b) => (text ? b.points - a.points : 0))
      .slice(0, MOST)
      .map((each) => each.command);
  const found = useMemo(() => search(typed), [typed, all]);
  const close = () => {
    open.value = false;
  };
  const run = (command: Command | undefined) => {
    close();
    command?.run();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // Enter may only confirm what an input method proposes.
    if (event.isComposing) return;
    if (event.key === "ArrowDown") setAt(Math.min(found.length - 1, at + 1));
    else if (event.key === "ArrowUp") setAt(Math.max(0, at - 1));
    else if (event.key === "Enter") {
      // What is in the field may be newer than what is drawn.
      const text = (event.currentTarget as HTMLInputElement).value;
      run(text === typed ? found[at] : search(text)[0]);
    } else return;
    event.preventDefault();
  };
  return (
    <Dialog label="Commands" onClose={close}>
      <input
        class="palette"
        role="combobox"
        aria-label="Command, agent or issue"
        aria-expanded="true"
        aria-controls="palette"
        aria-autocomplete="list"
        aria-activedescendant={found[at] && `command-${at}`}
        placeholder="Command, agent or issue"
        autoFocus
        value={typed}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={onKeyDown}
      />
      <div id="palette" class="choices" role="listbox" aria-label="Commands">
        {found.map((command, index) => (
          <div
            key={command.id}
            id={`command-${index}`}
            role="option"
            aria-selected={index === at}
            tabIndex={-1}
            onClick={() => run(command)}
            ref={index === at ? (element) => element?.scrollIntoView({ block: "nearest" }) : undefined}
          >
            {oneLine(command.name)} <span class="faint">{command.about}</span>
          </div>
        ))}
        {found.length === 0 && <p class="empty">Nothing matches.</p>}
      </div>
    </Dialog>
  );
}
