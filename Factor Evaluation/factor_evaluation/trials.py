"""Which trial an evaluation is, for the ledger: what a factor computes, from which klines, against which returns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from Backtest.files import json_text

from .labels import WORDS
from .layout import STEPS
from .manifest import Manifest
from .measures.ledger import Corrected, record_trials, trial_key
from .report.write import Report
from .store import FactorColumns

SAME_TRIAL = ("start", "end", "symbols")
"""Keys of evaluation.json that, with name, expression, bar length and horizon, say which trial it is."""


def identity_of(factor: FactorColumns) -> str:
    """Return a hash of what a factor computes and from which klines, as far as the store knows."""
    computed = [factor.facts.get(key) for key in ("expression", "source", "params", "dialect")]
    return hashlib.sha256(json_text([*computed, sorted(_klines(factor).items())]).encode("utf-8")).hexdigest()


def _klines(factor: FactorColumns) -> dict[str, str]:
    """Return symbol -> SHA-256 of the klines that a factor was computed from."""
    return {symbol: source["sha256"] for symbol, source in factor.facts.get("sources", {}).items()}


def other_klines(factor: FactorColumns, manifest: Manifest) -> tuple[str, ...]:
    """Return the caution that a factor was not computed from the klines that its forward returns are made of."""
    mine, theirs = _klines(factor), {symbol: source["sha256"] for symbol, source in manifest.sources.items()}
    other = sorted(symbol for symbol in mine.keys() & theirs if mine[symbol] != theirs[symbol])
    if not other:
        return ()
    names = ", ".join(other[:5]) + (f" and {len(other) - 5} more" if len(other) > 5 else "")
    return (
        f"the klines of {names} have changed between factor and forward returns; {STEPS['factor']} --overwrite "
        "computes the factor anew",
    )


def recorded(reports: Mapping[str, Report], root: Path) -> dict[str, dict[str, Corrected]]:
    """Enter every p-value into the ledger and return factor -> horizon -> what it is among all of them.

    The same trial from another store or run counts once: it is named by what it computes and on which bars of which
    klines.
    """
    keys = {
        (name, horizon): trial_key(
            name,
            str(report.document["horizons"][horizon]["bars"]),
            bar_freq=report.bar_freq,
            identity=json_text(
                [
                    report.source.expression,
                    report.source.identity,
                    *(report.document[key] for key in SAME_TRIAL),
                    *([] if report.source.label == WORDS["open"] else [report.source.label]),
                ]
            ),
        )
        for name, report in reports.items()
        for horizon in report.p_values
    }
    found = record_trials(root, {key: reports[name].p_values[horizon] for (name, horizon), key in keys.items()})
    return {
        name: {horizon: found[keys[name, horizon]] for horizon in report.p_values} for name, report in reports.items()
    }
