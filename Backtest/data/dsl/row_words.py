"""What rows of the operator table share: arguments, look-back rules, missing rules, and makers for each family."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from .signature import Argument, Literals, Operator

# ---- arguments that many rows share ---------------------------------------------------------------------------------
X, Y = Argument("x", "operand"), Argument("y", "operand")
SERIES, OTHER = Argument("x", "series"), Argument("y", "series")
D = Argument("d", "window")
D2, D3, D4 = (Argument("d", "window", low=low) for low in (2, 3, 4))
CONDITION = Argument("c", "mask")
MIN_PERIODS = Argument("min_periods", "count", required=False, low=1, keyword_only=True)
DDOF = Argument("ddof", "count", required=False, default=1, low=0, high=1, keyword_only=True)

# ---- look-back rules ------------------------------------------------------------------------------------------------


def no_lookback(literals: Literals) -> int:
    """Only the present bar."""
    return 0


def window_lookback(literals: Literals) -> int:
    """d bars, the present one among them."""
    return int(literals["d"]) - 1


def lag_lookback(literals: Literals) -> int:
    """The bar d bars ago."""
    return int(literals["d"])


def previous_lookback(literals: Literals) -> int:
    """The bar before."""
    return 1


def limit_lookback(literals: Literals) -> int | None:
    """At most `limit` bars, or the whole episode without a limit."""
    return None if literals["limit"] is None else int(literals["limit"])


def episode_lookback(literals: Literals) -> None:
    """From the episode's first bar."""


def hull_lookback(literals: Literals) -> int:
    """d + sqrt(d) - 2 bars, the root rounded down."""
    d = int(literals["d"])
    return d + math.isqrt(d) - 2


# ---- combinations of literals that make no sense --------------------------------------------------------------------


def check_window(literals: Literals) -> str | None:
    """Refuse more valid values than the window has bars."""
    chosen = literals["min_periods"]
    if chosen is not None and chosen > literals["d"]:
        return f"min_periods={chosen} can never be met in a window of {literals['d']} bars"
    return None


def check_split(literals: Literals) -> str | None:
    """Refuse to sum more bars than the window has."""
    if literals["k"] > literals["d"]:
        return f"k={literals['k']} bars cannot be chosen from a window of {literals['d']}"
    return check_window(literals)


def check_halflife(literals: Literals) -> str | None:
    """Refuse a half-life that is no time at all."""
    return None if literals["h"] > 0 else f"a half-life must be above 0; found {literals['h']:g}"


def check_edges(literals: Literals) -> str | None:
    """Refuse bucket edges that do not ascend."""
    edges = literals["edges"]
    if any(left >= right for left, right in pairwise(edges)):
        return "bucket edges must ascend strictly"
    return None


# ---- missing rules --------------------------------------------------------------------------------------------------
FLAT_WORDS = (
    "Flat: the std of the values (for a place in their range: the range) is at most 1e-12 of the largest |value|. That "
    "is rounding, not movement, and what would be divided by it is missing."
)
SQUARES_WORDS = (
    "Std, correlation and whatever else squares distances take distances from 1e-150 to 1e150: below, squares are 0 "
    "and the values count as flat; above, they overflow and the result is missing. Of operands up to 1e150 every value "
    "that overflows is counted as undefined; beyond, infinities of either sign may cancel, and some are not."
)
MIN_PERIODS_WORDS = (
    "With min_periods=m a window has a value as soon as m of its values are valid, however old the episode is and "
    "whatever gap_tolerance says."
)
"""Rules for all rows, printed once above them."""
IN_OUT = "missing where an operand is"
WINDOW = "until the episode is d bars old, and with fewer than ceil((1 - gap_tolerance) d) valid values in W"
PAIRS = WINDOW + " (rows where both are valid)"
FLAT_PAIRS = PAIRS + ", and where either is flat"
HELD = "where {} is, and before {}; a missing bar leaves the state as it is"
MEMBERS = "outside the population (universe members, tradable) and where x is; others do not notice"

# ---- row makers: the words of a family stand once -------------------------------------------------------------------


def unary(name: str, formula: str, doc: str, outside: str = "", **more: Any) -> Operator:
    """Return the row of a function of one number."""
    missing = IN_OUT + (f", and {outside}" if outside else "")
    return Operator(
        name, (X,), "series", "elementwise", no_lookback, f"elementwise:{name}", doc, formula, missing,
        more.pop("example", f"{name}(close)"), **more,
    )  # fmt: skip


def binary(name: str, formula: str, doc: str, example: str, outside: str = "", **more: Any) -> Operator:
    """Return the row of a function of one place."""
    missing = IN_OUT + (f", and {outside}" if outside else "")
    arguments = more.pop("arguments", (X, Y))
    return Operator(
        name, arguments, more.pop("result", "series"), "elementwise", no_lookback,
        more.pop("kernel", f"elementwise:{name}"), doc,
        formula, more.pop("missing", missing), example, **more,
    )  # fmt: skip


def logic(name: str, kernel: str, formula: str, doc: str, missing: str, example: str, **more: Any) -> Operator:
    """Return the row of an elementwise operator whose value is a mask."""
    arguments = more.pop("arguments", (Argument("c", "mask"), Argument("e", "mask")))
    return Operator(
        name, arguments, "mask", "elementwise", no_lookback, f"elementwise:{kernel}", doc, formula, missing, example,
        **more,
    )  # fmt: skip


def lagged(name: str, formula: str, doc: str, missing: str, **more: Any) -> Operator:
    """Return the row of a change over d bars."""
    return Operator(
        name, (SERIES, Argument("d", "lag")), "series", "time", lag_lookback, f"lagged:{name}", doc, formula, missing,
        f"{name}(close, 3)", **more,
    )  # fmt: skip


def window(name: str, kernel: str, formula: str, doc: str, **more: Any) -> Operator:
    """Return the row of a statistic of a window."""
    arguments = (*more.pop("data", (SERIES,)), more.pop("window", D), *more.pop("literals", ()), MIN_PERIODS)
    return Operator(
        name, arguments, "series", "time", more.pop("lookback", window_lookback), kernel, doc, formula,
        more.pop("missing", WINDOW), more.pop("example", f"{name}(close, 14)"),
        check=more.pop("check", check_window), **more,
    )  # fmt: skip


def cross(name: str, formula: str, doc: str, example: str, **more: Any) -> Operator:
    """Return the row of a cross-section."""
    arguments = (*more.pop("data", (SERIES,)), *more.pop("literals", ()))
    kernel = f"{more.pop('module', 'crosssection')}:{name}"
    return Operator(
        name, arguments, "series", "cross", no_lookback, kernel, doc, formula,
        more.pop("missing", MEMBERS), example, **more,
    )  # fmt: skip


def recursive(name: str, kernel: str, formula: str, doc: str, missing: str, example: str, **more: Any) -> Operator:
    """Return the row of an operator that runs from the episode's first bar on."""
    arguments = (*more.pop("data", (SERIES,)), *more.pop("literals", ()))
    return Operator(
        name, arguments, "series", "recursive", more.pop("lookback", episode_lookback), kernel, doc, formula, missing,
        example, **more,
    )  # fmt: skip
