"""One log file a run, warnings on stderr; stdout belongs to the JSON summary."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

LOGGER = logging.getLogger("factor_automation")
FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class _LogFile(logging.FileHandler):
    """A log file whose disk may fill: that is said once on stderr, and the run goes on without its log."""

    def handleError(self, record: logging.LogRecord) -> None:
        reason = sys.exc_info()[1]
        if not isinstance(reason, OSError):
            super().handleError(record)
            return
        self.setLevel(logging.CRITICAL + 1)
        print(f"log file {self.baseFilename} cannot be written ({reason.strerror}); going on without", file=sys.stderr)

    def close(self) -> None:
        with suppress(OSError):  # what could not be written is still waiting, and has been told
            super().close()


@contextmanager
def run_log(path: Path, level: str) -> Iterator[logging.Logger]:
    """Log to `path` at `level` and to stderr from WARNING on, for the length of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    to_file = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    to_screen = logging.StreamHandler(sys.stderr)
    to_screen.setLevel(max(logging.WARNING, logging.getLevelName(level)))
    form = logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%SZ")
    form.converter = time.gmtime
    handlers = (to_file, to_screen)
    before = (LOGGER.level, LOGGER.propagate)
    LOGGER.setLevel(level)
    LOGGER.propagate = False
    for handler in handlers:
        handler.setFormatter(form)
        LOGGER.addHandler(handler)
    try:
        yield LOGGER
    finally:
        LOGGER.level, LOGGER.propagate = before
        for handler in handlers:
            LOGGER.removeHandler(handler)
            handler.close()


def log_path(root: Path, stem: str) -> Path:
    """Return ``root/<stem>_<UTC time>.log``."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%f")
    return root / f"{stem}_{stamp}.log"


def progress(doing: str) -> None:
    """Note what is being done: in the log, and on a terminal for the one who waits."""
    LOGGER.info("%s", doing)
    if sys.stderr.isatty():
        print(f"{doing} ...", file=sys.stderr, flush=True)
