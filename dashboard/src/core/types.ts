// The messages of the REST API, generated from its OpenAPI document by `npm run types`.
import type { components } from "../../.build/api.d.ts";

type Schemas = components["schemas"];

export type Agent = Schemas["Agent"];
export type AgentDiff = Schemas["GetAgentDiffResponse"];
export type Approval = Schemas["Approval"];
export type Candidate = Schemas["Candidate"];
export type Consumer = Schemas["Consumer"];
export type ContextResponse = Schemas["GetContextResponse"];
export type DeadLetter = Schemas["DeadLetter"];
export type DocumentFound = Schemas["DocumentFound"];
export type DocumentRecord = Schemas["Document"];
export type DocumentRelation = Schemas["DocumentRelation"];
export type DocumentRevision = Schemas["DocumentRevision"];
export type Event = Schemas["Event"];
export type Finding = Schemas["Finding"];
export type Gap = Schemas["Gap"];
export type Health = Schemas["GetHealthResponse"];
export type LogLine = Schemas["LogLine"];
export type Page<Name extends string, Item> = { [key in Name]: Item[] } & { next_cursor?: string | null };
export type Result = Schemas["Result"];
export type Session = Schemas["Session"];
export type SessionEvent = Schemas["SessionEvent"];
export type Status = Schemas["GetStatusResponse"];
export type Json = Schemas["JsonValue"];
export type Usage = Schemas["Usage"];
