"""Structured logs: one JSON object a line, to a file or to standard error."""

from __future__ import annotations

import json
import logging
from pathlib import Path


class JsonFormatter(logging.Formatter):
    """Time, level, logger, node and message; the traceback where there is one."""

    def __init__(self, node_id: str) -> None:
        super().__init__()
        self._node_id = node_id

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "node": self._node_id,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def start(node_id: str, level: str, file: Path | None) -> None:
    """Send the log of this process to `file`, or to standard error."""
    handler = logging.StreamHandler() if file is None else logging.FileHandler(file)
    handler.setFormatter(JsonFormatter(node_id))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
