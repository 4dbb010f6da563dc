// Documents that agents share: found by name, tag or words, with their revisions and relations.
import { useEffect, useMemo, useState } from "preact/hooks";
import { get, request, segment } from "../core/api.ts";
import { link, params, project, set } from "../core/route.ts";
import type { DocumentFound, DocumentRecord, DocumentRelation, DocumentRevision, Page } from "../core/types.ts";
import { bytes, count } from "../lib/format.ts";
import { visible } from "../lib/visible.ts";
import { shared, useEvents } from "../state/project.ts";
import { Facts, Problem, Text, Time, useLoaded } from "../ui/basics.tsx";
import { difference, UnifiedDiff } from "../ui/diff.tsx";
import { List } from "../ui/list.tsx";
import { Markdown } from "../ui/markdown.tsx";

// Pictures that cannot hold scripts.
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const MOST_SHOWN = 1_000_000;

type Item = { document: DocumentRecord; found?: DocumentFound };

export function Documents() {
  const { document: open, find = "", tag = "", words = "" } = params.value;
  const [typed, setTyped] = useState(words);
  useEffect(() => setTyped(words), [words]);
  const connected = shared.value?.live.state.value;
  const [known, setKnown] = useState<Item[]>();
  const { value, problem, reload } = useLoaded(
    `documents ${find} ${words} ${connected}`,
    async (signal): Promise<Item[]> => {
      const own = { project_id: project.value };
      if (words) {
        const answer = await get<{ results: DocumentFound[] }>(
          "/api/documents:search",
          { ...own, query: words, limit: 100 },
          signal,
        );
        return answer.results.flatMap((found) => (found.document ? [{ document: found.document, found }] : []));
      }
      const page = await get<Page<"documents", DocumentRecord>>(
        "/api/documents",
        { ...own, name: find, limit: 1000 },
        signal,
      );
      return page.documents.map((document) => ({ document }));
    },
  );
  useEffect(() => {
    if (value) setKnown(value);
  }, [value]);
  useEvents("documents", () => true, reload);
  const tags = useMemo(() => {
    const counts = new Map<string, number>();
    for (const { document } of known ?? [])
      for (const each of document.tags) counts.set(each, (counts.get(each) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 30);
  }, [known]);
  const shown = (known ?? []).filter(({ document }) => !tag || document.tags.includes(tag));
  return (
    <div class="split">
      <section class="master" aria-label="Documents">
        <div class="bar">
          <h1>Documents</h1>
          <input
            data-filter
            type="search"
            aria-label="Find documents by name"
            placeholder="Name …"
            value={find}
            onInput={(event) => set({ find: event.currentTarget.value, words: "" }, true)}
          />
          <form
            onSubmit={(event) => {
              event.preventDefault();
              set({ words: typed.trim(), find: "" });
            }}
          >
            <input
              type="search"
              aria-label="Search the text of documents"
              placeholder="Words in the text …"
              value={typed}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />{" "}
            <button type="submit">Search</button>
          </form>
        </div>
        {tags.length > 0 && (
          <div class="tags" role="group" aria-label="Tags">
            {tags.map(([name, number]) => (
              <button
                key={name}
                type="button"
                aria-pressed={name === tag}
                onClick={() => set({ tag: name === tag ? "" : name })}
              >
                {visible(name)} <span class="faint">{number}</span>
              </button>
            ))}
          </div>
        )}
        <Problem text={problem} />
        <List
          label={words ? "Documents with these words, the best first" : "Documents, the newest first"}
          items={shown}
          rowHeight={52}
          idOf={({ document }) => document.document_id}
          selected={open}
          onSelect={({ document }) => set({ document: document.document_id, revision: "", before: "" })}
          render={({ document, found }) => (
            <div class="two-lines">
              <strong>{visible(document.filename)}</strong>
              <span class="faint">
                {found
                  ? visible(found.sections[0]?.text.replace(/\s+/g, " ").slice(0, 200) ?? "")
                  : `${bytes(document.size_bytes)}, ${[...document.tags.map(visible), ""].join(", ")}`}
                {!found && (
                  <>
                    {" "}
                    <Time at={document.updated_at} />
                  </>
                )}
              </span>
            </div>
          )}
          empty={known ? "No documents." : "Loading …"}
        />
      </section>
      {open && <DocumentPanel key={open} id={open} />}
    </div>
  );
}

type Loaded = {
  document: DocumentRecord;
  revisions: DocumentRevision[];
  relations: DocumentRelation[];
  names: Map<string, string>;
};

async function load(id: string, signal: AbortSignal): Promise<Loaded> {
  const own = { project_id: project.value };
  const path = `/api/documents/${segment(id)}`;
  const [document, revisions, relations] = await Promise.all([
    get<DocumentRecord>(path, own, signal),
    get<{ revisions: DocumentRevision[] }>(`${path}/revisions`, own, signal),
    get<{ relations: DocumentRelation[] }>(`${path}/relations`, own, signal),
  ]);
  const others = new Set(relations.relations.flatMap((each) => [each.from_document_id, each.to_document_id]));
  const found = await Promise.all(
    [...others]
      .slice(0, 100)
      .map((each) => get<DocumentRecord>(`/api/documents/${segment(each)}`, own, signal).catch(() => null)),
  );
  const names = new Map(found.filter((each) => each !== null).map((each) => [each.document_id, each.filename]));
  return { document, revisions: revisions.revisions, relations: relations.relations, names };
}

function DocumentPanel({ id }: { id: string }) {
  const { revision = "", before = "" } = params.value;
  const { value, problem, reload } = useLoaded(id, (signal) => load(id, signal));
  useEvents("documents", (event) => event.data?.document_id === id, reload);
  const document = value?.document;
  return (
    <aside class="detail wide" aria-label="Document">
      <div class="bar">
        <h2>{visible(document?.filename ?? id)}</h2>
        <button
          type="button"
          class="close"
          aria-label="Close"
          onClick={() => set({ document: "", revision: "", before: "" })}
        >
          ✕
        </button>
      </div>
      <div class="scroll-pane" tabIndex={0} role="region" aria-label="Document">
        <Problem text={problem} />
        {value && document && (
          <>
            <Facts
              facts={[
                ["ID", <code>{document.document_id}</code>],
                ["Type", visible(document.content_type)],
                ["Size", bytes(document.size_bytes)],
                ["Tags", document.tags.map(visible).join(", ")],
                ["Description", visible(document.metadata?.description ?? "")],
                [
                  "Created",
                  <>
                    {document.created_by}, <Time at={document.created_at} />
                  </>,
                ],
                ["Changed", <Time at={document.updated_at} />],
              ]}
            />
            <Relations loaded={value} />
            <div class="bar">
              <label>
                Revision{" "}
                <select value={revision} onChange={(event) => set({ revision: event.currentTarget.value })}>
                  <option value="">{`${document.revision} (newest)`}</option>
                  {value.revisions
                    .filter((each) => each.revision !== document.revision)
                    .map((each) => (
                      <option
                        key={each.revision}
                        value={String(each.revision)}
                      >{`${each.revision}, by ${each.written_by}`}</option>
                    ))}
                </select>
              </label>
              {value.revisions.length > 1 && (
                <label>
                  compared with{" "}
                  <select value={before} onChange={(event) => set({ before: event.currentTarget.value })}>
                    <option value="">nothing</option>
                    {value.revisions.map((each) => (
                      <option key={each.revision} value={String(each.revision)}>
                        {each.revision}
                      </option>
                    ))}
                  </select>
                </label>
              )}
            </div>
            <Content document={document} revision={revision} before={before} />
          </>
        )}
      </div>
    </aside>
  );
}

function Relations({ loaded }: { loaded: Loaded }) {
  const id = loaded.document.document_id;
  if (loaded.relations.length === 0) return null;
  return (
    <>
      <h3>Relations</h3>
      <ul>
        {loaded.relations.map((each) => {
          const outgoing = each.from_document_id === id;
          const other = outgoing ? each.to_document_id : each.from_document_id;
          return (
            <li key={each.relation_id}>
              {`${outgoing ? "→" : "←"} ${each.type.replaceAll("_", " ")}: `}
              <a href={link("documents", { document: other })}>{visible(loaded.names.get(other) ?? other)}</a>{" "}
              <span class="faint">{visible(outgoing ? each.from_note : each.to_note)}</span>
            </li>
          );
        })}
      </ul>
    </>
  );
}

type Read = { content_type: string; text?: string; data?: string; total_chars?: number };

async function read(document: DocumentRecord, revision: string, signal: AbortSignal): Promise<Read> {
  const params = new URLSearchParams({ limit: String(MOST_SHOWN) });
  if (project.value) params.set("project_id", project.value);
  if (revision) params.set("revision", revision);
  const binary = document.total_chars === undefined;
  if (binary) params.delete("limit");
  return (
    await request("GET", `/api/documents/${segment(document.document_id)}/content?${params}`, undefined, signal)
  ).json();
}

function Content({ document, revision, before }: { document: DocumentRecord; revision: string; before: string }) {
  const { value, problem, loading } = useLoaded(
    `${document.document_id} ${document.revision} ${revision} ${before}`,
    async (signal) => ({
      shown: await read(document, revision, signal),
      other: before ? await read(document, before, signal) : null,
    }),
  );
  if (loading) return <p class="faint">Loading …</p>;
  if (!value) return <Problem text={problem} />;
  const { shown, other } = value;
  if (other && shown.text !== undefined && other.text !== undefined) {
    return <UnifiedDiff label="What differs between the revisions" text={difference(other.text, shown.text)} />;
  }
  if (shown.text === undefined) return <Binary document={document} data={shown.data ?? ""} />;
  return (
    <>
      {(shown.total_chars ?? 0) > MOST_SHOWN && <p class="faint">{`The first ${count(MOST_SHOWN, "character")}.`}</p>}
      {/^text\/(x-)?markdown/.test(document.content_type) || /\.(md|markdown)$/i.test(document.filename) ? (
        <Markdown text={shown.text} />
      ) : (
        <Text label="Content">{document.content_type.includes("json") ? indented(shown.text) : shown.text}</Text>
      )}
    </>
  );
}

function indented(text: string): string {
  // Indenting deep nesting makes it a thousand times as long.
  if (text.length > 200_000 || /[[{](?:\s*[[{]){30}/.test(text)) return text;
  try {
    // Only if nothing is lost: large numbers, trailing zeros and repeated keys would be.
    const value = JSON.parse(text);
    const compact = text.replace(/("(?:\\.|[^"\\])*")|\s+/g, "$1");
    return JSON.stringify(value) === compact ? JSON.stringify(value, null, 2) : text;
  } catch {
    return text;
  }
}

function Binary({ document, data }: { document: DocumentRecord; data: string }) {
  const picture = PICTURES.has(document.content_type);
  const url = useMemo(() => {
    const octets = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    // What is no picture is only downloaded, never shown as a page of this server.
    return URL.createObjectURL(
      new Blob([octets], { type: picture ? document.content_type : "application/octet-stream" }),
    );
  }, [data]);
  useEffect(() => () => URL.revokeObjectURL(url), [url]);
  return (
    <>
      {picture && <img src={url} alt={visible(document.filename)} />}
      <p>
        <a href={url} download={document.filename.replace(/[/\\]/g, "_")}>
          Download
        </a>
      </p>
    </>
  );
}
