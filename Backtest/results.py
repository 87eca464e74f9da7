"""Run folders: named, published in one step, found again and read.

A run is built in the hidden folder ``<strategy>/.<run_id>.partial`` and renamed to ``<strategy>/<run_id>`` when
everything is in it and on the disk. A folder under a run's name is therefore a whole run; what a killed run leaves
is hidden, never listed, and swept by the next one.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .errors import RunError, did_you_mean
from .files import Locked, one_writer, sync_directory
from .names import NAME, check_name, inside

CONTEXT = "run_context.json"
METRICS_FILE = "metrics.json"
REQUIRED = (METRICS_FILE, "equity_curve.csv", "positions.csv", "orders.csv", "trades.json", CONTEXT)
"""Files without which a folder is not a run."""

CONTEXT_KEYS: dict[str, type | tuple[type, ...]] = {
    "created_at": str, "start": str, "end": str, "timeframe": str, "factor_set": str, "symbols": list, "strategy": dict,
    "settings": dict, "instruments": dict, "inputs": dict, "software": dict, "warnings": list, "synthetic": bool,
}  # fmt: skip
"""What run_context.json must hold for a run to be shown, compared and computed again."""

PARTIAL = ".partial"
LOCK = ".lock"
LOCK_SECONDS = 60.0
"""Age from which an unheld lock file is a leftover."""

RECENT = 3
"""Runs named when an unknown id resembles none."""


@dataclass(frozen=True)
class Run:
    """A published run: its folder and what its two JSON files hold."""

    folder: Path
    context: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def run_id(self) -> str:
        """Name of the folder."""
        return self.folder.name


def new_run_id(now: datetime | None = None) -> str:
    """Return a name no other run has: UTC time to the millisecond, so that names sort by age, and 32 random bits."""
    moment = now or datetime.now(timezone.utc)
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z-{secrets.token_hex(4)}"


@contextmanager
def publishing(results_root: Path, strategy: str, run_id: str) -> Iterator[Path]:
    """Yield an empty folder that becomes ``<results_root>/<strategy>/<run_id>`` at the end of the block, or vanishes.

    Raises
    ------
    RunError
        The run exists already, or is being written by another process.
    """
    home = inside(results_root, check_name("strategy", strategy))
    final = inside(results_root, strategy, check_name("run id", run_id))
    home.mkdir(parents=True, exist_ok=True)
    sweep_partial(home)
    partial = home / f".{run_id}{PARTIAL}"
    try:
        with one_writer(home / f".{run_id}{LOCK}"):
            if final.exists():
                raise RunError(f"{final} exists; a run is never overwritten")
            partial.mkdir()
            try:
                yield partial
                sync_directory(partial)
                partial.rename(final)
                sync_directory(home)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except Locked as error:
        raise RunError(f"run {run_id} is {error}") from None
    finally:
        (home / f".{run_id}{LOCK}").unlink(missing_ok=True)


def sweep_partial(home: Path) -> list[str]:
    """Remove what killed runs left in a strategy's folder; partial runs whose writer lives are locked and stay."""
    swept = []
    for partial in sorted(home.glob(f".*{PARTIAL}")):
        lock = partial.with_name(partial.name.removesuffix(PARTIAL) + LOCK)
        try:
            with one_writer(lock):
                shutil.rmtree(partial, ignore_errors=True)
                swept.append(partial.name)
        except Locked:
            continue
        lock.unlink(missing_ok=True)
    _sweep_locks(home)
    return swept


def _sweep_locks(home: Path) -> None:
    """Remove lock files of runs that were killed just after they were published."""
    for lock in home.glob(f".*{LOCK}"):
        try:
            # A younger one may belong to a run that has created it and is about to lock it.
            if time.time() - lock.stat().st_mtime < LOCK_SECONDS:
                continue
            with one_writer(lock):
                lock.unlink(missing_ok=True)
        except (Locked, FileNotFoundError):
            continue


def remove_run(folder: Path) -> None:
    """Delete a run: it loses its name in one step, so that a kill leaves no half of it listed."""
    hidden = folder.with_name(f".{folder.name}{PARTIAL}")
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def run_folders(results_root: Path) -> dict[str, Path]:
    """Return run id -> folder of every published run, sorted by id (hence by age)."""
    found: dict[str, Path] = {}
    for folder in _named_folders(results_root):
        if not missing_files(folder):
            found[folder.name] = folder
    return dict(sorted(found.items()))


def incomplete_runs(results_root: Path) -> dict[str, Path]:
    """Return name -> folder of everything that has files of a run but not all: someone took them away."""
    found = {
        folder.name: folder for folder in _named_folders(results_root) if 0 < len(missing_files(folder)) < len(REQUIRED)
    }
    return dict(sorted(found.items()))


def missing_files(folder: Path) -> list[str]:
    """Return the REQUIRED files that a folder does not hold."""
    return [name for name in REQUIRED if not (folder / name).is_file()]


def incomplete_words(folder: Path) -> str:
    """Return what an incomplete run folder lacks, in words."""
    missing = missing_files(folder)
    return f"run folder {folder} is incomplete: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"


def _named_folders(results_root: Path) -> Iterator[Path]:
    """Yield every ``<results_root>/<strategy>/<name>`` that a run could be."""
    homes = sorted(results_root.iterdir()) if results_root.is_dir() else []
    for home in homes:
        if NAME.fullmatch(home.name) and home.is_dir():
            yield from (folder for folder in home.iterdir() if NAME.fullmatch(folder.name))


def find_run(results_root: Path, run_id: str) -> Path:
    """Return the folder of a run, given its id or an unambiguous beginning of it.

    Raises
    ------
    RunError
        No run, more than one, or one that lacks a file; nearest ids are suggested.
    """
    check_name("run id", run_id)
    broken = incomplete_runs(results_root)
    folders = run_folders(results_root) | broken
    begun = [run_id] if run_id in folders else [name for name in folders if name.startswith(run_id)]
    if len(begun) == 1:
        if begun[0] in broken:
            raise RunError(incomplete_words(broken[begun[0]]))
        return folders[begun[0]]
    if begun:
        more = f" and {len(begun) - RECENT} more" if len(begun) > RECENT else ""
        shown = ", ".join(sorted(begun)[-RECENT:])
        raise RunError(f"run id {run_id!r} begins {len(begun)} runs: {shown}{more}; give more of it")
    if not results_root.is_dir():
        raise RunError(f"results folder {results_root} does not exist; make a run first, or give --results-root")
    if not folders:
        raise RunError(f"run id {run_id!r} is not known: {results_root} holds no run; see --results-root")
    hint = did_you_mean(run_id, folders) or f"; the latest are {', '.join(list(folders)[-RECENT:])}"
    raise RunError(f"run id {run_id!r} is not in {results_root}{hint}")


def read_run(folder: Path) -> Run:
    """Return a published run; a file that is not the JSON it should be is named."""
    context = read_json(folder / CONTEXT)
    for key, kind in CONTEXT_KEYS.items():
        if not isinstance(context.get(key), kind):
            raise RunError(f"{folder / CONTEXT}: {key} is {str(context.get(key))[:40]!r}; the run folder is damaged")
    if not {"name", "source", "params"} <= set(context["strategy"]):
        raise RunError(f"{folder / CONTEXT}: strategy lacks name, source or params; the run folder is damaged")
    return Run(folder, context, read_json(folder / METRICS_FILE))


def was_ruined(context: Mapping[str, Any]) -> bool:
    """Tell from run_context.json whether equity reached zero; runs made before this was kept say no."""
    return bool(context.get("ruined", False))


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object of a run folder."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); the run folder is damaged") from None
    if not isinstance(content, dict):
        raise RunError(f"{path} holds a {type(content).__name__}; a JSON object is expected")
    return content
