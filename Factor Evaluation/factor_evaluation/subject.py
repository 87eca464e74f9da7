"""What is evaluated: a factor on the bars and symbols that it shares with the inputs, beside its forward returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from Backtest.data.panel import Floats, Panel
from Backtest.errors import RunError

from .labels import LabelKind, forward_return, label_name
from .layout import STEPS
from .store import FactorColumns, Inputs


@dataclass(frozen=True)
class Subject:
    """A factor on its bars and symbols, beside its forward returns.

    Attributes
    ----------
    panel
        Prices on the same bars and symbols.
    values
        float64 [T, S].
    labels
        Horizon key -> float64 [T, S].
    market
        Close [T] of the benchmark whose regimes are meant; None where they were not asked for.
    """

    panel: Panel
    values: Floats
    labels: Mapping[str, Floats]
    market: Floats | None


def subject_of(
    inputs: Inputs, factor: FactorColumns, horizons: Mapping[str, int], benchmark: str | None, kind: LabelKind = "open"
) -> Subject:
    """Return a factor on the bars and symbols that it shares with the inputs.

    Raises
    ------
    RunError
        It shares none.
    """
    panel = inputs.panel
    symbols = tuple(symbol for symbol in panel.symbols if symbol in factor.symbols)
    begin = max(factor.first_bar, panel.first_bar)
    after = min(factor.first_bar + len(factor.values), panel.first_bar + panel.shape[0])
    if not symbols or begin >= after:
        raise RunError(f"factor {factor.name} and the inputs share no symbol or no bar; run {STEPS['factor']} again")
    rows = slice(begin - panel.first_bar, after - panel.first_bar)
    columns = [panel.symbols.index(symbol) for symbol in symbols]
    labels = {
        key: np.ascontiguousarray(label_of(inputs, bars, kind)[rows][:, columns]) for key, bars in horizons.items()
    }
    market = None if benchmark is None else panel.fields["close"][rows, panel.symbols.index(benchmark)]
    cut = panel.rows(rows.start, rows.stop).columns(symbols)
    return Subject(cut, np.ascontiguousarray(factor.aligned(cut)), labels, market)


def label_of(inputs: Inputs, bars: int, kind: LabelKind = "open") -> Floats:
    """Return the forward return [T, S]: Step 0's, else computed by the same function."""
    written = inputs.labels.get(label_name(kind, bars))
    return forward_return(inputs.panel.fields[kind], inputs.panel.age, bars, kind=kind) if written is None else written
