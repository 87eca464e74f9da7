"""``analyze_run --verify``: compute a run again from prices and factors, and compare every number it stored.

1. `request_of`: what was run, from run_context.json.
2. `load_inputs`, `run_engine`, `compared`: the very steps of Stage B, from the factor files and the klines.
3. `first_divergence`: each stored file against its recomputation, row by row and cell by cell.
4. `changed_inputs`: inputs that are not those of the run, named, so that a divergence has its cause beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .results import Run
from .runs.context import futures_digests, software
from .runs.inputs import RunInputs, load_inputs
from .runs.outcome import CSV_COLUMNS, result_texts
from .runs.request import request_of
from .simulate import compared, run_engine

TOLERANCE = 1e-9
"""Relative. Another CPU or library version may change the last bits of a sum; it never changes this much."""


@dataclass(frozen=True)
class Verification:
    """What the recomputation found.

    Attributes
    ----------
    verdict
        ``identical`` (every byte), ``equal`` (every number within TOLERANCE) or ``diverged``.
    divergence
        The first place that differs, in words; empty unless diverged.
    files
        File -> ``identical``, ``equal`` or ``diverged``.
    orders, bars
        How much was compared.
    notes
        Inputs or software that changed since the run.
    """

    verdict: str
    divergence: str
    files: Mapping[str, str]
    orders: int
    bars: int
    notes: tuple[str, ...]


def verify_run(run: Run, *, allow_modules: tuple[str, ...]) -> Verification:
    """Recompute a run and compare it with what its folder holds; only `allow_modules` may be imported.

    Raises
    ------
    FactorError
        It cannot be recomputed: the factor set or the klines are gone, or are not those of the run.
    """
    request = request_of(run.context, allow_modules=allow_modules)
    inputs = load_inputs(request)
    outcome = compared(run_engine(request, inputs), request, inputs)
    verdicts: dict[str, str] = {}
    first = ""
    for name, text in result_texts(outcome).items():
        verdicts[name], where = compare_file(run.folder / name, text)
        first = first or where
    verdict = "diverged" if first else "equal" if "equal" in verdicts.values() else "identical"
    record = outcome.record
    return Verification(
        verdict, first, verdicts, len(record.orders), len(record.equity), tuple(changed_inputs(run.context, inputs))
    )


def compare_file(path: Path, text: str) -> tuple[str, str]:
    """Return a verdict on a stored file against its recomputed text, and the first divergence in words."""
    try:
        stored = path.read_bytes()
    except OSError as error:
        return "diverged", f"{path.name}: cannot be read ({error.strerror})"
    if stored == text.encode("utf-8"):
        return "identical", ""
    compare = compare_csv if path.name in CSV_COLUMNS else compare_json
    where = compare(path.name, stored.decode("utf-8", errors="replace"), text)
    return ("diverged", where) if where else ("equal", "")


def compare_csv(name: str, stored: str, again: str) -> str:
    """Return the first row and cell in which two CSV texts differ by more than TOLERANCE, in words, or ""."""
    mine, theirs = stored.splitlines(), again.splitlines()
    columns = theirs[0].split(",")
    for number, (left, right) in enumerate(zip(mine, theirs, strict=False), 1):
        if left == right:
            continue
        cells, expected = left.split(","), right.split(",")
        if len(cells) != len(expected):
            return f"{name}, line {number}: stored {left!r}, recomputed {right!r}"
        for column, cell, other in zip(columns, cells, expected, strict=True):
            if not same_cell(cell, other):
                return (
                    f"{name}, line {number} ({expected[0]}), {column}: stored {cell or 'nothing'}, recomputed {other}"
                )
    if len(mine) != len(theirs):
        line = min(len(mine), len(theirs)) + 1
        extra = (mine if len(mine) > len(theirs) else theirs)[line - 1]
        side = "stored only" if len(mine) > len(theirs) else "recomputed only"
        return f"{name}, line {line}: {side}: {extra}"
    return ""


def same_cell(left: str, right: str) -> bool:
    """Tell whether two cells are the same text, or numbers within TOLERANCE."""
    if left == right:
        return True
    try:
        return close(float(left), float(right))
    except ValueError:
        return False


def close(left: float, right: float) -> bool:
    """Tell whether two numbers agree to TOLERANCE, absolute below 1."""
    return math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def compare_json(name: str, stored: str, again: str) -> str:
    """Return the first place in which two JSON texts differ by more than TOLERANCE, in words, or ""."""
    try:
        content = json.loads(stored)
    except ValueError:
        return f"{name}: is not JSON"
    return next(differences(name, content, json.loads(again)), "")


def differences(place: str, left: Any, right: Any) -> Iterator[str]:
    """Yield each place in which two JSON values differ."""
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key, value in left.items():
            yield from differences(f"{place}, {key}", value, right[key])
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (one, other) in enumerate(zip(left, right, strict=True), 1):
            yield from differences(f"{place}, item {number}", one, other)
    elif isinstance(left, float) and isinstance(right, float):
        if not close(left, right):
            yield f"{place}: stored {left!r}, recomputed {right!r}"
    elif left != right:
        yield f"{place}: stored {_short(left)}, recomputed {_short(right)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def changed_inputs(context: Mapping[str, Any], inputs: RunInputs) -> Iterator[str]:
    """Yield what is no longer as it was when the run was made, one line each."""
    then = context["inputs"]
    for symbol, stored in then["factor_files"].items():
        if inputs.metadata["files"][symbol]["sha256"] != stored:
            yield f"the factor file of {symbol} is not the one that the run read: the factor set was made again"
            break
    for symbol, facts in then["klines"].items():
        now = inputs.sources.get(symbol)
        if now is None or now["bars_sha256"] != facts["bars_sha256"]:
            yield f"the bars of {symbol} are not those that the run read"
    yield from changed_futures(then.get("futures"), inputs)
    versions = software()
    for name, version in context["software"].items():
        if versions.get(name) != version:
            yield f"{name} was {version[:12]}, is {str(versions.get(name))[:12]}"


def changed_futures(then: Mapping[str, Any] | None, inputs: RunInputs) -> Iterator[str]:
    """Yield what a run on futures read and finds no longer: tiers, fees, settlements."""
    if then is None or inputs.futures is None:
        return
    before, now = futures_digests(then), futures_digests(inputs.futures.facts)
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield f"the {name} {'are' if name in ('tiers', 'fees') else 'is'} not what the run read"
