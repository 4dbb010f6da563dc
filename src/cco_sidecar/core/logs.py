"""Structured log files: one JSON object per line."""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from cco_sidecar.core import security_log
from cco_sidecar.core.audit import ChainedFile

SECURITY_LOG = "security.log"
_FILE_BYTES = 20 * 2**20
# Old files that are kept.
FILES = 5
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# A token is three base64url parts (RFC 7519). Tokens must never be logged.
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON, without tokens."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in _PLAIN},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return without_tokens(_json(line))


def _json(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:
        # A lone surrogate (a file name that is not UTF-8), an integer of more than 64 bits, keys that are no strings.
        return json.dumps(line, default=str, skipkeys=True, separators=(",", ":"))


def without_tokens(text: str) -> str:
    return _TOKEN.sub("[token]", text)


def set_up(directory: Path, level: str) -> None:
    """Logs to ``orchestration.log`` and ``security.log`` in ``directory``.

    Each file is rotated at 20 MB, and five old files are kept.
    """
    # A record that cannot be written, for example on a full disk, is lost. Python would print a traceback to stderr,
    # and block the server if nobody reads it.
    logging.raiseExceptions = False
    handler = logging.handlers.RotatingFileHandler(
        directory / "orchestration.log", maxBytes=_FILE_BYTES, backupCount=FILES, encoding="utf-8"
    )
    handler.setFormatter(JsonLines())
    security = ChainedFile(directory / SECURITY_LOG, most_bytes=_FILE_BYTES, files=FILES)
    security.setFormatter(JsonLines())
    security_logger = logging.getLogger(security_log.NAME)
    _only(security_logger, security)
    security_logger.setLevel(logging.INFO)
    security_logger.propagate = False
    root = logging.getLogger()
    _only(root, handler)
    root.setLevel(level.upper())
    # Libraries log warnings and errors only, whatever our own level.
    for name in ("asyncio", "uvicorn", "sqlalchemy", "alembic", "grpc"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _only(logger: logging.Logger, handler: logging.Handler) -> None:
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)
