"""`cco documents push|pull|read|...`, and the same commands as `doc-push`, `doc-pull`, ...: what they print is JSON.

The names, arguments and output are those of the Agent Orchestrator Framework's context store.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from cco_sidecar.cli.connect import connected, find, settings_of
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Integer
from cco_sidecar.cli.standalone import program
from cco_sidecar.cli.terminal import echo
from cco_sidecar.client import Client
from cco_sidecar.core import codec, relations
from orchestra.v1.document_service_pb2 import Document

_MAX_NUMBER = 2**32 - 1
_tags_option = click.option("--tags", default="", help="Tags, separated by commas.")


@click.group(name="documents", cls=Group)
def command() -> None:
    """Documents that agents share. What these commands print is JSON."""


def _prints_json(work: Callable[..., Any]) -> Callable[..., Any]:
    """Connects a command, and prints what it returns."""
    connecting = connected(work)

    @functools.wraps(connecting)
    def run(*arguments: Any, **named: Any) -> None:
        found = connecting(*arguments, **named)
        if found is not None:
            _print(found)

    return run


def _print(value: Any, *, err: bool = False) -> None:
    """Prints JSON in UTF-8; on a terminal, with what could be an escape sequence escaped."""
    stream = sys.stderr if err else sys.stdout
    if str(getattr(stream, "encoding", "")).lower().replace("-", "") != "utf8":
        echo(json.dumps(value, indent=None if err else 2), err=err)
        return
    text = orjson.dumps(value, option=0 if err else orjson.OPT_INDENT_2).decode()
    echo(_printable(text) if stream.isatty() else text, err=err)


def _printable(text: str) -> str:
    """Escapes as JSON does what a terminal may take for a command, or not show (RFC 8259, section 7)."""
    return "".join(sign if sign == "\n" or sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Name of the document.  [default: that of the file]")
@_tags_option
@click.option("--description", default="", help="What it is about.")
@_prints_json
def push(client: Client, file: Path, name: str | None, tags: str, description: str) -> Any:
    """Store a file as a document."""
    data = file.read_bytes()
    content: str | bytes = data
    with contextlib.suppress(UnicodeDecodeError):
        content = data.decode()
    made = client.documents.create(name or file.name, content, tags=_words(tags), metadata=_description(description))
    return _shown(made)


@command.command()
@click.argument("document_id")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [default: a new one of its name]",
)
@_prints_json
def pull(client: Client, document_id: str, output: Path | None) -> Any:
    """Write a document into a file."""
    document = client.documents.get(document_id)
    found = client.documents.read(document_id)
    data = found.text.encode() if found.WhichOneof("content") == "text" else found.data
    path = output or Path(document.filename)
    try:
        # The name is whatever the one who stored the document wanted: no file is replaced, and no link is followed.
        with path.open("wb" if output is not None else "xb") as file:
            file.write(data)
    except FileExistsError:
        raise click.ClickException(f"{path} exists; to replace it, name it with --output") from None
    return {"success": True, "document_id": document_id, "filename": str(path), "size_bytes": len(data)}


@command.command()
@click.option("--name", default="", help="A part of the name.")
@click.option("--tags", default="", help="Tags that a document must have, all of them, separated by commas.")
@click.option("--limit", type=Integer(1, 1000), help="Maximum number.  [default: 100]")
@click.option("--include-relations", is_flag=True, help="With the relations of each.")
@_prints_json
def query(client: Client, name: str, tags: str, limit: int | None, include_relations: bool) -> Any:
    """List documents, the newest first."""
    found = client.documents.list(name=name, tags=_words(tags), limit=limit).documents
    if not include_relations:
        return [_shown(each) for each in found]
    return [_shown(each) | _related(client, each.document_id) for each in found]


@command.command()
@click.argument("document_id")
@_prints_json
def info(client: Client, document_id: str) -> Any:
    """Show what is known about a document."""
    return _shown(client.documents.get(document_id)) | _related(client, document_id)


@command.command()
@click.argument("document_id")
@click.option("--offset", "-o", type=Integer(0, _MAX_NUMBER), help="First character.")
@click.option("--limit", "-l", type=Integer(0, _MAX_NUMBER), help="Number of characters.")
@_prints_json
def read(client: Client, document_id: str, offset: int | None, limit: int | None) -> Any:
    """Print a text, or a part of it. Which part is printed to stderr, as JSON."""
    found = client.documents.read(document_id, offset=offset, limit=limit)
    if found.WhichOneof("content") != "text":
        raise click.ClickException(f"{document_id} is not text ({found.content_type}); use 'doc-pull' to get the file")
    echo(found.text, nl=False)
    if found.HasField("start"):
        where = {"total_chars": found.total_chars, "range": f"{found.start}-{found.end}"}
        _print(where, err=True)


@command.command()
@click.argument("document_id")
@_prints_json
def delete(client: Client, document_id: str) -> Any:
    """Delete a document with its revisions, and its children with theirs."""
    deleted = client.documents.delete(document_id)
    said = {"success": True, "message": f"deleted {document_id}", "document_id": document_id}
    return said | {"deleted_document_ids": list(deleted)}


@command.command()
@click.argument("words", metavar="QUERY")
@click.option("--limit", "-l", type=Integer(1, 100), default=10, show_default=True, help="Maximum number of documents.")
@_prints_json
def search(client: Client, words: str, limit: int) -> Any:
    """Find documents by the words of their texts, and where the words are."""
    found = client.documents.search(words, limit=limit)
    return {
        "query": words,
        "results": [
            {
                "document_id": each.document.document_id,
                "filename": each.document.filename,
                "document_url": _url(each.document),
                "sections": [
                    {"score": part.score, "offset": part.offset, "limit": part.limit} for part in each.sections
                ],
            }
            for each in found
        ],
    }


@command.command()
@click.option("--name", required=True, help="Name of the document.")
@_tags_option
@click.option("--description", default="", help="What it is about.")
@_prints_json
def create(client: Client, name: str, tags: str, description: str) -> Any:
    """Create an empty document, to be written later."""
    return _shown(client.documents.create(name, tags=_words(tags), metadata=_description(description)))


@command.command()
@click.argument("document_id")
@click.option("--content", help="The content.  [default: stdin]")
@_prints_json
def write(client: Client, document_id: str, content: str | None) -> Any:
    """Replace the content of a document."""
    return _shown(client.documents.write(document_id, _stdin() if content is None else content))


@command.command()
@click.argument("document_id")
@click.option("--old-string", help="What is replaced.")
@click.option("--new-string", help="What takes its place.")
@click.option("--replace-all", is_flag=True, help="Replace it wherever it is.")
@click.option("--offset", type=Integer(0, _MAX_NUMBER), help="First character that is replaced.")
@click.option("--length", type=Integer(0, _MAX_NUMBER), help="Number of characters; 0, the default, to insert.")
@click.option("--revision", type=Integer(1, _MAX_NUMBER), help="Only if this is the current revision.")
@click.option("--json", "from_stdin", is_flag=True, help="Read these options from stdin, as a JSON object.")
@_prints_json
def edit(client: Client, document_id: str, *, from_stdin: bool, **given: Any) -> Any:
    """Change a part of a text."""
    if from_stdin:
        given |= _edit_of(_stdin())
    if given["new_string"] is None:
        raise click.UsageError("--new-string is required")
    changed = client.documents.edit(
        document_id,
        given["new_string"],
        old_text=given["old_string"],
        replace_all=given["replace_all"],
        offset=given["offset"],
        length=given["length"],
        expected_revision=given["revision"],
    )
    shown = _shown(changed.document)
    if changed.HasField("replacements_made"):
        return shown | {"replacements_made": changed.replacements_made}
    place = {"offset": given["offset"], "old_length": given["length"] or 0, "new_length": len(given["new_string"])}
    return shown | {"edit_range": place}


def _edit_of(text: str) -> dict[str, Any]:
    """Reads the options of `edit` from JSON. Raises ClickException."""
    kinds = {"old_string": str, "new_string": str, "replace_all": bool, "offset": int, "length": int}
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise click.ClickException(f"stdin is not JSON: {problem}") from None
    if not isinstance(found, dict):
        raise click.ClickException("stdin: expected a JSON object")
    for name, value in found.items():
        if name not in kinds or type(value) is not kinds[name]:
            raise click.ClickException(f"stdin: {name}: expected one of {', '.join(kinds)}, of its type")
    return found


@command.command()
@click.argument("to_document", default="")
@click.option("--types", is_flag=True, help="List the types of relations.")
@click.option("--create", "from_document", metavar="FROM", help="Relate this document to TO_DOCUMENT.")
@click.option("--update", "updated", metavar="RELATION", help="Change the notes of a relation.")
@click.option("--remove", "removed", metavar="RELATION", help="Delete a relation; the documents stay.")
@click.option("--type", "-t", "relation_type", type=click.Choice(list(relations.TYPES)), help="Type, for --create.")
@click.option("--from-note", "--note", "-n", "from_note", help="What the first document should know about the second.")
@click.option("--to-note", help="What the second document should know about the first.")
@_prints_json
def link(
    client: Client,
    to_document: str,
    types: bool,
    from_document: str | None,
    updated: str | None,
    removed: str | None,
    relation_type: str | None,
    from_note: str | None,
    to_note: str | None,
) -> Any:
    """Relate documents: one of --types, --create, --update and --remove."""
    if [types, from_document is not None, updated is not None, removed is not None].count(True) != 1:
        raise click.ClickException("use one of --types, --create, --update and --remove")
    if from_document is not None:
        if not to_document or relation_type is None:
            raise click.ClickException("--create needs the second document and --type")
        kind = relation_type.replace("-", "_")
        made = client.documents.relate(
            from_document, to_document, kind, from_note=from_note or "", to_note=to_note or ""
        )
        entries = {"from_relation": relations.of_first(made), "to_relation": relations.of_second(made)}
        return {"success": True, "message": "Relation created"} | entries
    if updated is not None:
        if from_note is None and to_note is None:
            raise click.ClickException("--update needs --note or --to-note")
        changed = client.documents.update_relation(updated, from_note=from_note, to_note=to_note)
        return relations.of_first(changed) if from_note is not None else relations.of_second(changed)
    if removed is not None:
        client.documents.unrelate(removed)
        return {"success": True, "message": "Relation removed", "deleted_relation_ids": [removed]}
    return relations.definitions()


def _related(client: Client, document_id: str) -> dict[str, Any]:
    return {"relations": relations.of_document(document_id, client.documents.relations(document_id))}


def _stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise click.ClickException("stdin is not UTF-8") from None


def _words(text: str) -> Sequence[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _description(text: str) -> dict[str, str]:
    return {"description": text} if text else {}


def _url(document: Document) -> str:
    # In an agent, the URL has the path already.
    base = find(settings_of(click.get_current_context()), None).url.rstrip("/").removesuffix("/api")
    return f"{base}/api/documents/{document.document_id}/content"


def _shown(document: Document) -> dict[str, Any]:
    """Returns a document as the original's commands print it, and what it does not have there."""
    more = {"total_chars": document.total_chars} if document.HasField("total_chars") else {}
    return {
        "id": document.document_id,
        "filename": document.filename,
        "content_type": document.content_type,
        "size_bytes": document.size_bytes,
        "created_at": codec.rfc3339(document.created_at),
        "updated_at": codec.rfc3339(document.updated_at),
        "tags": list(document.tags),
        "metadata": dict(document.metadata),
        "url": _url(document),
        "revision": document.revision,
        "checksum": document.checksum,
        **more,
    }


def _say(text: str) -> None:
    _print({"error": text}, err=True)


def _program(command: click.Command) -> Callable[[], None]:
    return program(command, _say, wrong_values=True)


doc_push, doc_pull, doc_query, doc_info, doc_read = map(_program, (push, pull, query, info, read))
doc_delete, doc_search, doc_create, doc_write, doc_edit, doc_link = map(
    _program, (delete, search, create, write, edit, link)
)
