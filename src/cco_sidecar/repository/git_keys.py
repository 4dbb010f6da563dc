"""Keys of git's configuration that are taken over."""

from __future__ import annotations

# Keys that say how to read files and refs. None names a program, another file or a remote (git-config(1)).
OF_REPOSITORY = frozenset(
    (
        "core.repositoryformatversion",
        "core.filemode",
        "core.symlinks",
        "core.ignorecase",
        "core.precomposeunicode",
        "core.autocrlf",
        "core.eol",
        "core.safecrlf",
        "core.checkstat",
        "core.trustctime",
        "core.sparsecheckout",
        "core.sparsecheckoutcone",
        "index.sparse",
        "extensions.objectformat",
        "extensions.refstorage",
    )
)
# Keys used from the user's own configuration. It is trusted, but only these matter for reading.
OF_PERSON = frozenset({"core.autocrlf", "core.eol", "core.excludesfile", "core.precomposeunicode"})
