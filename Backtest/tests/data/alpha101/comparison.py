"""What the comparisons of the 101 Alphas share: the formulas, when two arrays agree, which cells rounding decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .paper_first import FIRST
from .paper_second import SECOND
from .paper_words import ERROR, Floats, Market, ties_broken

Bools = NDArray[np.bool_]
FORMULAS: dict[str, Callable[[Market], Floats]] = {**FIRST, **SECOND}
SEEDS = 24
"""Draws at most: where several values are equal, one draw shows one order of them."""


TIES = {
    "alpha013": 0.03, "alpha015": 0.15, "alpha016": 0.03, "alpha031": 0.03, "alpha045": 0.9, "alpha050": 0.02,
    "alpha067": 0.02, "alpha071": 0.01, "alpha076": 0.01, "alpha078": 0.02, "alpha079": 0.01, "alpha085": 0.02,
    "alpha088": 0.06, "alpha092": 0.04, "alpha094": 0.04, "alpha096": 0.12, "alpha097": 0.02, "alpha098": 0.05,
}  # fmt: skip
"""Factor -> share of cells that may differ from the independent version, as rounding decides them: correlations and
weighted means of ranks are often equal on paper, and a rank is made of them (see `test_kunquant.TIES`). Each such cell
must be one that changes in the independent version, too, with an error of 1e-12 (`unexplained`)."""


def same(x: Floats, y: Floats, *, tolerance: float = 1e-9) -> Bools:
    """Return where both are missing, or differ by at most `tolerance` of the largest |y|."""
    scale = max(float(np.max(np.abs(np.nan_to_num(y)))), 1e-300)
    return np.asarray((np.isnan(x) & np.isnan(y)) | (np.abs(x - y) <= tolerance * scale))


def unexplained(differs: Bools, formula: Callable[[Market], Floats], market: Market) -> Bools:
    """Return those of the last cells that rounding does not decide.

    Explained are cells that change when the comparisons of the independent version see errors of 1e-12; each draw is
    taken with both signs.
    """
    first, left = formula(market)[-len(differs) :], differs.copy()
    for seed in range(SEEDS):
        for error in (ERROR, -ERROR):
            if not left.any():
                return left
            with ties_broken(seed, error):
                left &= same(formula(market)[-len(differs) :], first)
    return left
