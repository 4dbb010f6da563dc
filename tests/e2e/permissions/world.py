"""Two projects with resources of every kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.e2e.permissions.oracle import (
    ANOTHER_TYPE,
    ISSUES,
    LISTS,
    MAY,
    OF_OTHER_ISSUE,
    OF_OTHER_PROJECT,
    OPERATOR,
    OTHER,
    OWN,
    PROJECTS,
    UNLIMITED,
    Scope,
)
from tests.support.receivers import LOCAL
from tests.support.repositories import commit_all
from tests.support.sidecars import fresh, serving, written
from tests.support.transports import Transports

from cco_sidecar.storage import trust
from cco_sidecar.testing.process import Agent, SidecarProcess


class Resources(NamedTuple):
    """The resources in one issue of a project."""

    running: str
    ended: str
    result: str
    approval: str


Place = tuple[str, str]
# Nothing listens there.
NOWHERE = "http://127.0.0.1:1/hook"


class World:
    def __init__(self, sidecar: SidecarProcess) -> None:
        self.sidecar = sidecar
        self.transports = Transports(sidecar)
        self.operator = sidecar.operator
        self.tokens: dict[str, Agent] = {}
        self.agents = {who: self.spawn(PROJECTS[OWN], ISSUES[OWN], who) for who in MAY}
        self.agents[OPERATOR] = self.operator
        self.things = {(p, i): self._fill(p, i) for p in PROJECTS.values() for i in ISSUES.values()}
        self.knowledge = {place: self.pending(*place) for place in self.things}
        self.letters = {project: self.letter(project) for project in PROJECTS.values()}
        self.events = {project: self.event(project) for project in PROJECTS.values()}
        self.documents = {project: self.document(project) for project in PROJECTS.values()}
        self.relations = {project: self.relation(project) for project in PROJECTS.values()}
        for project in PROJECTS.values():
            self.consumer(project, "of-the-operator")
            self.consumer(project, "of-everyone", shared=True)
            self.schedule(project, "of-the-operator")
            self.webhook(project, "hook")
            self.schema(project, "with-a-schema")
            self.session(project, "ended")
            self.ask("CreateSession", name="external", external=True, project_id=project)
        self.blueprint("known")
        self.ask("StoreCredential", name="KEPT", value="of-the-operator")
        self._known: Any = None

    def ask(self, rpc: str, /, **request: Any) -> Any:
        """A call by the operator that must succeed."""
        return self.transports.ask(rpc, self.operator, **request)

    def spawn(self, project: str, issue: str, agent_type: str = ANOTHER_TYPE, **more: Any) -> Agent:
        """An agent that runs until it is stopped."""
        mark = OF_OTHER_PROJECT if project == PROJECTS[OTHER] else "of the own project"
        made = self.ask(
            "SpawnAgent", agent_type=agent_type, issue_id=issue, project_id=project, task=f"{mark}: sleep", **more
        )
        agent = Agent(made["agent_id"], agent_type, issue, project, made["jwt_token"])
        self.tokens[agent.id] = agent
        return agent

    def ended(self, project: str, issue: str) -> Agent:
        agent = self.spawn(project, issue)
        self.ask("StopAgent", agent_id=agent.id, force=True)
        return agent

    def approval(self, project: str, issue: str) -> str:
        mark = OF_OTHER_PROJECT if project == PROJECTS[OTHER] else "of the own project"
        asked = self.ask("RequestApproval", question=f"{mark}: may it?", issue_id=issue, project_id=project)
        return str(asked["approval_id"])

    def consumer(self, project: str, name: str, who: str = OPERATOR, **settings: Any) -> str:
        """A consumer of an agent. By default it selects nothing that happens: what is pulled and not acknowledged would
        become a dead letter at some later time."""
        settings = {"event_types": ["never"]} | settings
        body = {"name": name, "project_id": project, "settings": settings}
        self.transports.ask("CreateConsumer", self.agents[who], **body)
        return name

    def schedule(self, project: str, schedule_id: str, who: str = OPERATOR) -> None:
        event = {"event_type": "scheduled", "project_id": project}
        body = {"schedule_id": schedule_id, "event": event, "after_seconds": 86_400}
        self.transports.ask("CreateSchedule", self.agents[who], **body)

    def document(self, project: str, who: str = OPERATOR) -> str:
        mark = OF_OTHER_PROJECT if project == PROJECTS[OTHER] else "of the own project"
        body = {"filename": "known.md", "text": f"{mark}: in the project", "project_id": project}
        return str(self.transports.ask("CreateDocument", self.agents[who], **body)["document_id"])

    def pending(self, project: str, issue: str) -> str:
        """A pending entry of an issue: what a result decided."""
        marks = [OF_OTHER_PROJECT] if project == PROJECTS[OTHER] else []
        marks += [OF_OTHER_ISSUE] if issue == ISSUES[OTHER] else []
        work = {"status": "success", "decisions": [" ".join(["decided", fresh("entry"), *marks])]}
        place = {"issue_id": issue, "project_id": project}
        self.ask("CreateResult", agent_type=ANOTHER_TYPE, result=work, **place)
        return str(self.ask("ListKnowledgeEntries", status="pending", limit=1, **place)["entries"][0]["entry_id"])

    def learn(self, who: str) -> str:
        """An entry that an agent added itself."""
        made = self.transports.ask("CreateKnowledgeEntry", self.agents[who], text=fresh("learned"))
        return str(made["entry_id"])

    def session(self, project: str, name: str = "") -> str:
        """A session that has ended."""
        mark = OF_OTHER_PROJECT if project == PROJECTS[OTHER] else "of the own project"
        made = self.ask("CreateSession", name=name or fresh("session"), prompt=f"{mark}: sleep", project_id=project)
        self.ask("StopSession", session_id=made["session_id"], project_id=project)
        return str(made["name"])

    def blueprint(self, name: str = "") -> str:
        return str(self.ask("CreateBlueprint", name=name or fresh("blueprint"), description="known")["name"])

    def relation(self, project: str) -> str:
        documents = {"from_document_id": self.documents[project], "to_document_id": self.document(project)}
        made = self.ask("CreateDocumentRelation", **documents, type="related", project_id=project)
        return str(made["relation_id"])

    def schema(self, project: str, event_type: str) -> str:
        self.ask("SetSchema", event_type=event_type, schema={"maxProperties": 9}, project_id=project)
        return event_type

    def webhook(self, project: str, name: str) -> str:
        settings = {"event_types": ["never"], "timeout_seconds": 1}
        self.ask("CreateWebhook", name=name, url=NOWHERE, settings=settings, project_id=project)
        return name

    def event(self, project: str) -> str:
        mark = OF_OTHER_PROJECT if project == PROJECTS[OTHER] else "of the own project"
        published = self.ask("PublishEvent", event_type="known", project_id=project, data={"mark": mark})
        return str(published["event_id"])

    def letter(self, project: str, who: str = OPERATOR) -> str:
        """A dead letter of a consumer of an agent."""
        name = self.consumer(project, f"failing-of-{who}", who, event_types=["failing"])
        place = {"name": name, "project_id": project}
        mark = OF_OTHER_PROJECT if project == PROJECTS[OTHER] else "of the own project"
        self.ask("PublishEvent", event_type="failing", project_id=project, data={"mark": mark})
        pulled = self.ask("PullEvents", timeout=5000, **place)["deliveries"]
        ids = [each["delivery_id"] for each in pulled]
        self.ask("RejectEvents", delivery_ids=ids, dead_letter=True, **place)
        found = self.ask("ListDeadLetters", consumer=name, project_id=project)
        return str(found["dead_letters"][0]["dead_letter_id"])

    def cache(self, project: str, issue: str) -> None:
        """Puts a context of the issue into the cache."""
        self.ask("GetContext", project_id=project, issue_id=issue, agent_type=ANOTHER_TYPE)

    def _fill(self, project: str, issue: str) -> Resources:
        marks = [OF_OTHER_PROJECT] if project == PROJECTS[OTHER] else []
        marks += [OF_OTHER_ISSUE] if issue == ISSUES[OTHER] else []
        stored = self.ask(
            "CreateResult",
            agent_type=ANOTHER_TYPE,
            issue_id=issue,
            project_id=project,
            result={"status": "success", "decisions": [" ".join(["decided", *marks])]},
        )
        self.ask("PublishEvent", event_type="filled", project_id=project, data={"issue_id": issue, "marks": marks})
        running = self.spawn(project, issue)
        return Resources(running.id, self.ended(project, issue).id, stored["id"], self.approval(project, issue))

    def of(self, scope: Scope) -> Resources:
        return self.things[PROJECTS[scope.project], ISSUES[scope.issue]]

    def changed(self) -> None:
        """Records that an allowed call changed something."""
        self._known = None

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Nothing may change while the block runs."""
        before, self._known = self._known or self._look(), None
        yield
        now = self._look()
        assert now == before
        self._known = now

    def _look(self) -> Any:
        status = self._raw("GetStatus")
        found: dict[str, Any] = {
            "events": status.events.total_published,
            "results": status.storage.results_stored,
            "tokens": status.agents.spawned_total,
            "cached contexts": status.storage.context_cache_entries,
            "credentials": [(each.name, str(each.updated_at)) for each in self._raw("ListCredentials").credentials],
        }
        found["blueprints"] = [(each.name, each.description) for each in self._raw("ListBlueprints").blueprints]
        for project in PROJECTS.values():
            found[f"consumers of {project}"] = [
                (each.name, each.dead_letter_count) for each in self._raw("ListConsumers", project_id=project).consumers
            ]
            found[f"schedules of {project}"] = [
                each.schedule_id for each in self._raw("ListSchedules", project_id=project).schedules
            ]
            found[f"documents of {project}"] = [
                (each.document_id, each.filename, each.revision)
                for each in self._raw("ListDocuments", project_id=project, limit=1000).documents
            ]
            found[f"knowledge of {project}"] = [
                (each.entry_id, each.status)
                for each in self._raw("ListKnowledgeEntries", project_id=project, limit=1000).entries
            ]
            found[f"relations of {project}"] = [
                (each.relation_id, each.from_note)
                for document in self.documents.values()
                for each in self._related(project, document)
            ]
            found[f"schemas of {project}"] = [
                each.event_type for each in self._raw("ListSchemas", project_id=project).schemas
            ]
            found[f"webhooks of {project}"] = [
                (each.name, each.paused) for each in self._raw("ListWebhooks", project_id=project).webhooks
            ]
            found[f"sessions of {project}"] = [
                (each.session_id, each.name, each.event_count, each.ended_at.seconds, dict(each.metadata))
                for each in self._raw("ListSessions", project_id=project, limit=1000).sessions
            ]
            # Statuses of running agents follow their requests and output a moment later.
            found[f"agents of {project}"] = [
                (each.agent_id, each.HasField("ended_at"), each.attempt, str(each.progress.at))
                for each in self._raw("ListAgents", project_id=project, limit=1000).agents
            ]
            found[f"approvals of {project}"] = [
                (each.approval_id, each.status)
                for each in self._raw("ListApprovals", project_id=project, limit=1000).approvals
            ]
        return found

    def _related(self, project: str, document_id: str) -> Any:
        if self.documents[project] != document_id:
            return []
        return self._raw("ListDocumentRelations", project_id=project, document_id=document_id).relations

    def _raw(self, rpc: str, **request: Any) -> Any:
        return self.transports.grpc(rpc).raw(request, self.operator)

    def stop_spawned(self, rpc: str, body: Any) -> None:
        """Ends what an allowed call started, so that nothing happens on its own later."""
        if rpc == "ResumeSession":
            self.ask("StopSession", session_id=body["session_id"], project_id=body["project_id"])
        if rpc in ("SpawnAgent", "ResumeAgent"):
            self.ask("StopAgent", agent_id=body["agent_id"], force=True)

    def close(self) -> None:
        self.transports.close()


def start(directory: Path, agents: Mapping[str, Any]) -> AbstractContextManager[SidecarProcess]:
    repository = directory / "repository"
    repository.mkdir()
    (repository / "main.go").write_text("package main\n")
    (repository / "main.py").write_text("print('a')\n")
    (repository / "config").mkdir()
    own = {key: [{"type": f"own-{key}", "name": key, "role": "added by the project"}] for key in LISTS}
    (repository / "config" / "orchestra-config.json").write_text(json.dumps(own | {"architect": own["architect"][0]}))
    commit_all(repository)
    # The sidecar's home is the parent directory of its storage.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(directory))
        trust.trust(repository / trust.AGENT_TYPES, (repository / trust.AGENT_TYPES).read_bytes())
    base = {"rate_limits": dict.fromkeys(UNLIMITED, 0), "runners": {"default": {"command": ["sleep", "600"]}}}
    sidecar = {"default_project": PROJECTS[OWN]}
    config = written(directory / "config.json", sidecar=sidecar, agents=base | dict(agents))
    return serving(directory, repository, config=config, environment=LOCAL)
