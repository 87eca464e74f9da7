"""``Backtest/results/index.json``: one entry a run, kept from the run folders, which are the truth.

Writers hold a file lock and replace the file in one step, so none of them loses an entry of another. An entry whose
folder is gone is dropped and a folder without an entry is read, whoever changed them; a damaged or deleted index is
built anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..files import Locked, one_writer, write_json
from ..logs import LOGGER
from ..metrics import METRICS
from ..results import Run, incomplete_runs, incomplete_words, read_run, run_folders, was_ruined

INDEX = "index.json"
LOCK_SECONDS = 60.0
"""An update takes milliseconds; who waits this long waits for a stuck file system."""

KEYS = (
    "run_id", "strategy", "created_at", "start", "end", "timeframe", "factor_set", "symbols", "params", "metrics",
    "path", "ruined",
)  # fmt: skip

Entry = dict[str, Any]


def update_index(results_root: Path) -> list[Entry]:
    """Bring index.json in line with the run folders and return its entries, oldest first."""
    results_root.mkdir(parents=True, exist_ok=True)
    try:
        with one_writer(results_root / f".{INDEX}.lock", timeout=LOCK_SECONDS):
            stored = _stored(results_root / INDEX)
            entries = _current(results_root, stored or [])
            if entries != stored:
                write_json(results_root / INDEX, entries)
            return entries
    except Locked as error:
        raise RunError(f"{results_root / INDEX} is {error}; waited {LOCK_SECONDS:g} s") from None


def list_runs(results_root: Path) -> list[Entry]:
    """Return the entries of every run, oldest first; repairs the index where the root can be written.

    A root without runs is left as it is: nothing is written there.

    Raises
    ------
    RunError
        There is no such folder.
    """
    if not results_root.is_dir():
        raise RunError(f"results folder {results_root} does not exist; make a run first, or give --results-root")
    if not run_folders(results_root) and not _stored(results_root / INDEX):
        return _current(results_root, [])
    try:
        return update_index(results_root)
    except OSError:
        return _current(results_root, _stored(results_root / INDEX) or [])


def _stored(path: Path) -> list[Entry] | None:
    """Return the entries of the file, None when it is absent, damaged or not a list of entries."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(entries, list) and all(isinstance(entry, dict) and set(KEYS) <= set(entry) for entry in entries)
    return entries if whole else None


def _current(results_root: Path, stored: list[Entry]) -> list[Entry]:
    known = {entry["path"]: entry for entry in stored}
    entries = []
    for folder in run_folders(results_root).values():
        path = folder.relative_to(results_root).as_posix()
        try:
            entries.append(known.get(path) or entry_of(read_run(folder), path))
        except (RunError, KeyError) as error:
            LOGGER.warning("%s is left out of the index: %s", folder, error)
    for folder in incomplete_runs(results_root).values():
        LOGGER.warning("%s; it is left out of the index", incomplete_words(folder))
    return sorted(entries, key=lambda entry: (entry["created_at"], entry["run_id"]))


def entry_of(run: Run, path: str) -> Entry:
    """Return the index entry of a run; `path` is relative to the folder of the index."""
    context = run.context
    return {
        "run_id": run.run_id,
        "strategy": context["strategy"]["name"],
        "created_at": context["created_at"],
        "start": context["start"],
        "end": context["end"],
        "timeframe": context["timeframe"],
        "factor_set": context["factor_set"],
        "symbols": context["symbols"],
        "params": context["strategy"]["params"],
        "metrics": {name: run.metrics.get(name) for name in METRICS},
        "path": path,
        "ruined": was_ruined(context),
    }
