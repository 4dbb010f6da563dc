// A question to the person, with the command and the change that it is about.
import { useState } from "preact/hooks";
import { get, post, segment } from "../core/api.ts";
import { link } from "../core/route.ts";
import type { AgentDiff, Approval, Json } from "../core/types.ts";
import { isActive } from "../lib/groups.ts";
import { visible } from "../lib/visible.ts";
import { shared } from "../state/project.ts";
import { Action, announcement, JsonText, orNothing, Problem, Text, Time, useLoaded } from "../ui/basics.tsx";
import { UnifiedDiff } from "../ui/diff.tsx";

type Data = { [key: string]: Json };
const isObject = (value: Json | undefined): value is Data =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Returns the commands that an approval is about, as they would be run: all that it names, so that none hides another. */
export function commandsOf(data: Data | undefined): string[] {
  const places = [data, data?.tool_input, data?.input].filter(isObject);
  const found = places.map(({ command }) =>
    Array.isArray(command)
      ? command.map((word) => quoted(String(word))).join(" ")
      : typeof command === "string"
        ? command
        : "",
  );
  return [...new Set(found.filter(Boolean))];
}

const quoted = (word: string): string => (/^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** Returns the diff that comes with an approval; empty without one. */
export function diffOf(data: Data | undefined): string {
  const found = data?.diff ?? data?.patch;
  return typeof found === "string" ? found : "";
}

export function ApprovalCard({ approval, onAnswered }: { approval: Approval; onAnswered(): void }) {
  const [comment, setComment] = useState("");
  const commands = commandsOf(approval.data);
  const given = diffOf(approval.data);
  const spawn = approval.data?.spawn;
  const asking = shared.value?.team.byId.value.get(approval.requested_by);
  const ended = asking && !isActive(asking);
  const answer = async (approved: boolean) => {
    await post(`/api/approvals/${segment(approval.approval_id)}/answer`, { approved, comment });
    announcement.value = `${approved ? "Approved" : "Denied"}: ${visible(approval.question)}`;
    onAnswered();
    // The card goes, and with it the place of the keyboard.
    document.querySelector<HTMLElement>(".approvals")?.focus();
  };
  return (
    <article class="card approval" aria-label={`Approval: ${visible(approval.question).slice(0, 100)}`}>
      <p class="question">{visible(approval.question)}</p>
      <p class="faint">
        <a href={link("team", { agent: approval.requested_by })}>{approval.requested_by}</a>
        {approval.issue_id && (
          <>
            {" on "}
            <a href={link("issue", { issue: approval.issue_id })}>{approval.issue_id}</a>
          </>
        )}
        , <Time at={approval.created_at} />
      </p>
      {ended && <p class="problem">The agent that asked has ended: nobody may be waiting for the answer.</p>}
      {isObject(spawn) && <Spawn spawn={spawn} />}
      {commands.map((command) => (
        <>
          <h3>Command</h3>
          <Text label="Command">{command}</Text>
        </>
      ))}
      {given ? (
        <UnifiedDiff text={given} label="The change that it is about" />
      ) : (
        <Changes agent={approval.requested_by} />
      )}
      {approval.data && (
        <details>
          <summary>Full request</summary>
          <JsonText value={approval.data} label="Data of the approval" />
        </details>
      )}
      <div class="actions">
        <label>
          <span class="hidden">Comment</span>
          <input
            placeholder="Comment (optional)"
            value={comment}
            onInput={(event) => setComment(event.currentTarget.value)}
          />
        </label>
        <Action name="Approve" primary run={() => answer(true)} />
        <Action name="Deny" danger run={() => answer(false)} />
      </div>
    </article>
  );
}

function Spawn({ spawn }: { spawn: Data }) {
  return (
    <p>
      Starts <strong>{String(spawn.agent_type ?? "an agent")}</strong>
      {typeof spawn.task === "string" && spawn.task && <>: {visible(spawn.task)}</>}
    </p>
  );
}

/** What the agent that asks has changed in its worktree. */
function Changes({ agent }: { agent: string }) {
  const isAgent = agent !== "operator" && agent !== "handover";
  const { value, problem } = useLoaded(agent, async (signal) =>
    isAgent ? orNothing(get<AgentDiff>(`/api/agents/${segment(agent)}/diff`, {}, signal)) : null,
  );
  if (!value?.diff && !value?.untracked_files?.length) return <Problem text={problem} />;
  return (
    <details open={Boolean(value.diff) && value.diff.length < 4000}>
      <summary>Changes so far</summary>
      <DiffOf value={value} />
    </details>
  );
}

export function DiffOf({ value }: { value: AgentDiff }) {
  return (
    <>
      {value.diff && <UnifiedDiff text={value.diff} label="Changes of the agent" />}
      {value.truncated && <p class="faint">The diff is longer; it is cut here.</p>}
      {value.untracked_files?.length > 0 && (
        <>
          <h3>New files that git does not know yet</h3>
          <Text label="New files">{value.untracked_files.join("\n")}</Text>
        </>
      )}
      {!value.diff && !value.untracked_files?.length && <p class="faint">No changes in a worktree of its own.</p>}
    </>
  );
}
