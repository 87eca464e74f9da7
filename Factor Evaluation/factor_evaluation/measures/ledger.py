"""The ledger: every p-value that was ever computed in an output root, so that corrections know all the trials.

One JSON file, written whole and atomically under a lock: two evaluations at once lose nothing. A trial is named by what
was tried (`trial_key`); making the same evaluation again replaces its p-value and is no second trial.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from Backtest.errors import DataError
from Backtest.files import Locked, one_writer, write_json

from .family import benjamini_hochberg, benjamini_yekutieli

FILE_NAME = "factor_ledger.json"
LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Corrected:
    """A p-value among `trials` trials, adjusted by Benjamini and Hochberg, and by Benjamini and Yekutieli."""

    p_value: float
    benjamini_hochberg: float
    benjamini_yekutieli: float
    trials: int


def trial_key(factor: str, horizon: str, *, bar_freq: str, identity: str = "") -> str:
    """Return the name of a trial; `identity` tells what else makes it another one (expression, window, symbols)."""
    return json.dumps([factor, horizon, bar_freq, identity], ensure_ascii=False)


def record_trials(root: Path, p_values: Mapping[str, float]) -> dict[str, Corrected]:
    """Add the trials (key -> p-value) to the ledger of `root` and return each corrected for all trials in it.

    A p-value that is NaN is recorded as a trial without one: it counts for nothing until it has one.

    Raises
    ------
    DataError
        The ledger is damaged, or another process held its lock for a minute.
    """
    path = root / FILE_NAME
    try:
        with one_writer(path.with_name(FILE_NAME + ".lock"), LOCK_SECONDS):
            trials = read_ledger(root)
            trials.update(p_values)
            held = {key: trials[key] if math.isfinite(trials[key]) else None for key in sorted(trials)}
            write_json(path, {"trials": held})
    except Locked as problem:
        raise DataError(f"{path} is being written by another run ({problem}); try again") from None
    return {key: corrected for key, corrected in correct(trials).items() if key in p_values}


def read_ledger(root: Path) -> dict[str, float]:
    """Return key -> p-value of all trials so far; empty where there is no ledger."""
    path = root / FILE_NAME
    if not path.exists():
        return {}
    try:
        trials = json.loads(path.read_text(encoding="utf-8"))["trials"]
        return {str(key): math.nan if value is None else _probability(value) for key, value in trials.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise DataError(
            f"{path} is not a ledger of factor trials ({type(problem).__name__}: {problem}); restore it, "
            "or move it away to begin a new count"
        ) from None


def correct(trials: Mapping[str, float]) -> dict[str, Corrected]:
    """Return every trial's p-value corrected for all of them."""
    values = np.array(list(trials.values()), dtype=np.float64)
    count = int(np.isfinite(values).sum())
    adjusted = zip(trials, values, benjamini_hochberg(values), benjamini_yekutieli(values), strict=True)
    return {key: Corrected(float(p), float(bh), float(by), count) for key, p, bh, by in adjusted}


def _probability(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{value!r} is not a p-value")
    return float(value)
