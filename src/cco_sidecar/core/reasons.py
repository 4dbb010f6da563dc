"""Why files are in a context or not: the names that manifests, explanations and rules use."""

from __future__ import annotations

from enum import StrEnum


class Signal(StrEnum):
    """What the score of a file is made of. docs/context.md says what each is."""

    WORDS = "words"
    PATH = "path"
    SCOPE = "scope"
    SIMILAR_COMMITS = "similar_commits"
    RECENT_COMMITS = "recent_commits"
    CHANGED_TOGETHER = "changed_together"
    TESTS = "tests"
    NAMED_BY_TASK = "named_by_task"
    NAMED_BY_FINDING = "named_by_finding"
    REQUIRED = "required"
    NAMED_BY_DECISION = "named_by_decision"
    UNCOMMITTED = "uncommitted"


class Reason(StrEnum):
    """Why a file is in the context, or not, beside the signals that are reasons by themselves."""

    # In the context.
    ALWAYS = "always"
    RELEVANT = "relevant"
    CHANGED_RECENTLY = "changed_recently"
    SOURCE = "source"
    TEST = "test"
    CONFIGURATION = "configuration"
    DOCUMENTATION = "documentation"
    COMMENTS_ONLY = "comments_only"
    # Left out, and could be requested.
    LESS_RELEVANT = "less_relevant"
    NOT_FOR_THIS_AGENT = "not_for_this_agent"
    NO_ROOM = "no_room"
    NO_COMMENTS = "no_comments"
    EXCLUDED = "excluded"
    # No text, or too much of it.
    BINARY = "binary"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    UNREADABLE = "unreadable"
    SAVED_CONTEXT = "context"
    # What no agent gets.
    NEVER = "never"
    SECRET_FILE = "secret_file"
    SYMLINK = "symlink"
    OUTSIDE_ROOT = "outside_root"
    SUBMODULE = "submodule"
    NESTED_REPOSITORY = "nested_repository"
