"""The one contract behind every measure: which (bar, symbol) cells take part, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from Backtest.errors import DataError
from Backtest.settings import CoreSettings

from .evaluation import Floats
from .ranked import MIN_NAMES, FactorRows, factor_rows

MISSING = "factor missing"
UNTRADABLE = "not tradable"
FEW = f"fewer than {MIN_NAMES} names in the bar"
CONSTANT = "constant cross-section"
NO_RETURN = "no forward return"


@dataclass(frozen=True)
class Aligned:
    """Factor and forward returns on one grid [T, S].

    Attributes
    ----------
    factor
        float64 [T, S]; NaN outside the population.
    rows
        Its cross-sections (`FactorRows`).
    labels
        Horizon key -> float64 [T, S].
    alive
        bool [T, S]: the cells that are counted, from a symbol's first to its last bar.
    dropped
        Alive cells that no horizon uses, by reason; `no_return` those that one horizon lacks, by horizon key.
    pairs
        Cells used, by horizon key.
    """

    factor: Floats
    rows: FactorRows
    labels: Mapping[str, Floats]
    alive: NDArray[np.bool_]
    dropped: Mapping[str, int]
    no_return: Mapping[str, int]
    pairs: Mapping[str, int]

    def dropped_at(self, key: str) -> dict[str, int]:
        """Return the reasons of one horizon, those that dropped nothing left out."""
        reasons = {**self.dropped, NO_RETURN: self.no_return[key]}
        return {reason: count for reason, count in reasons.items() if count}


def align(
    factor: Floats,
    labels: Mapping[str, Floats],
    *,
    quantiles: int,
    tradable: NDArray[np.bool_] | None = None,
    alive: NDArray[np.bool_] | None = None,
    max_loss: float = CoreSettings.max_loss,
    cross_section: bool = True,
    name: str = "factor",
) -> Aligned:
    """Build the contract once, counting what is dropped and why.

    Parameters
    ----------
    factor
        float64 [T, S]; not finite is missing.
    labels
        Horizon key -> forward returns [T, S]. Pairs are dropped per horizon: a long one never decides a short one's.
    tradable
        bool [T, S]: cells whose factor may be used; all when None.
    alive
        bool [T, S]: cells counted; from a symbol's first to its last factor or forward return when None.
    max_loss
        Share of the alive cells that the horizon with most pairs may lose.
    cross_section
        False: bars are not asked for `MIN_NAMES` names or for variation (time-series measures).

    Raises
    ------
    DataError
        Shapes differ, nothing is alive, or more than `max_loss` is lost: the reasons are named with their counts.
    """
    for key, label in labels.items():
        if label.shape != factor.shape:
            raise DataError(f"{name}: horizon {key} has shape {label.shape}, the factor {factor.shape}")
    finite = np.isfinite(factor)
    returned = {key: np.isfinite(label) for key, label in labels.items()}
    cells = _lives(finite, returned) if alive is None else alive
    wanted = cells if tradable is None else cells & tradable
    used = finite & wanted
    rows = factor_rows(factor, quantiles, used)
    kept = used & rows.usable[:, None] if cross_section else used
    dropped = {
        MISSING: int((cells & ~finite).sum()),
        UNTRADABLE: int((cells & finite & ~wanted).sum()),
        FEW: int(rows.count[rows.count < MIN_NAMES].sum()) if cross_section else 0,
        CONSTANT: int(rows.count[rows.constant].sum()) if cross_section else 0,
    }
    pairs = {key: int((kept & held).sum()) for key, held in returned.items()}
    total = int(kept.sum())
    made = Aligned(
        np.where(used, factor, np.nan),
        rows,
        dict(labels),
        cells,
        {reason: count for reason, count in dropped.items() if count},
        {key: total - count for key, count in pairs.items()},
        pairs,
    )
    _refuse_loss(made, int(cells.sum()), max_loss, name)
    return made


def _lives(finite: NDArray[np.bool_], returned: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    any_value = finite.copy()
    for held in returned.values():
        any_value |= held
    before = np.logical_or.accumulate(any_value, axis=0)
    after = np.logical_or.accumulate(any_value[::-1], axis=0)[::-1]
    return np.asarray(before & after)


def _refuse_loss(made: Aligned, cells: int, max_loss: float, name: str) -> None:
    if not cells:
        raise DataError(f"{name}: no symbol has a bar, a factor or a forward return in the window")
    best = max(made.pairs, key=lambda key: made.pairs[key])
    loss = 1.0 - made.pairs[best] / cells
    # a factor that never varies has nothing to lose: its measures are missing, which the report says
    if loss > max_loss and made.dropped.get(CONSTANT, 0) < (1.0 - max_loss) * cells:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in made.dropped_at(best).items())
        raise DataError(
            f"{name}: {loss:.1%} of {cells:,} (bar, symbol) cells are lost ({reasons}); max_loss allows {max_loss:.4g}"
        )
