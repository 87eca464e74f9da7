"""Qlib's expressions (pyqlib 0.9.7, ``qlib/data/ops.py``), so that its published libraries reproduce.

Fields: ``$open $high $low $close $volume`` and every other panel field by its name; ``$vwap`` is quote over base volume
(missing without trades); ``$factor`` is the number 1 (coins have no splits). Bare names are the recipe's own.

Reproduced on purpose:

* Windows give a value from their first valid one on (min_periods 1); std, variance and covariance have ddof 1.
* A comparison with a missing value is false (``Ne``: true), and a mask counts as 0 and 1 in arithmetic and windows.
* ``If`` with a condition that is no mask takes any value but 0, a missing one included, for true.
* ``IdxMax``/``IdxMin``: oldest row = 1, the oldest wins a tie, the first missing row of the window wins anyhow.
* ``WMA``: weights over all rows sum to 1, then the mean over the valid rows (issue 1993): about WMA / N.
* ``EMA``: pandas' ewm with adjust=True, ignore_na=False; a number between 0 and 1 is alpha, any other the span.
* ``Mean Sum Std Var Max Min Med Count`` with a window between 0 and 1: all of them the ewm mean with that alpha.
* ``Corr`` is missing where the std of either side is at most 2e-5, ``Rsquare`` likewise: absolute, whatever the price.
* ``Skew`` of equal values is 0 and ``Kurt`` -3; both are missing where the variance (ddof 0) is at most 1e-14, and in
  windows that our own rows call flat (relative to the values, where pandas gives rounding).
* ``Count`` of a window without values is 0; ``Cov`` of a flat one is 0.
* ``Mask(x, 'BTCUSDT')`` and ``ChangeInstrument('BTCUSDT', x)``: x of that symbol.

Refused, by name: ``Ref(x, 0)`` and ``Delta(x, 0)`` (the first value of whatever was loaded), negative shifts (future),
window 0 (expanding from whatever was loaded), windows that are no whole number elsewhere, ``Std Var Slope Rsquare Resi
Cov Corr`` over 1 bar (never a value), ``And Or Not`` of anything but masks, ``P PRef PFeature`` (no point-in-time
data), ``TResample`` (no clock of its own), ``Rolling`` and its kin (classes, not operators).

Different, and stated as tolerance where values are compared with pyqlib's:

* Qlib stores and computes elementwise in float32; here all is float64.
* ``Slope Rsquare Resi`` and pandas' sums, variances and moments are running sums that drift and that a spike spoils;
  here every window is exact.
* Infinite values (x/0) run on in Qlib's elementwise operators; here they are missing. NumPy makes 1 of ``1 ** missing``
  and of ``missing ** 0``; here both are missing.
* Qlib's EMA and fractional windows begin with the loaded rows; here with the listing episode's first bar.
* Qlib's rows are those of its calendar: windows reach across a bar that no symbol has and across a delisting; here
  missing bars are rows without a value, and look-back ends at the listing episode's first bar.
* Bars that a symbol does not have are missing here whatever the operator says of them.
* A correlation is also missing where a std is below 1e-12 of the window's largest value: pandas divides rounding there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..bound import Bound
from ..signature import Argument
from .interface import Dialect, Form, Maker, Overload, Refused, Values, form

X, Y = Argument("x", "value"), Argument("y", "value")
SERIES, LEFT, RIGHT = Argument("x", "any"), Argument("x", "any"), Argument("y", "any")
CONDITION, OTHER_CONDITION = Argument("x", "mask"), Argument("y", "mask")
N, LAG = Argument("N", "window"), Argument("N", "lag")
N2, N3, N4 = (Argument("N", "window", low=low) for low in (2, 3, 4))
Q = Argument("q", "number", low=0, high=1)
INSTRUMENT = Argument("instrument", "symbol")

FLAT = 2e-5
"""A std up to this is none, for Corr and Rsquare (``atol`` of their np.isclose)."""
FLAT_VARIANCE = 1e-14
"""A variance up to this is none, for pandas' skew and kurt."""

# ---- windows --------------------------------------------------------------------------------------------------------


def _window(name: str, row: str, *arguments: Argument) -> Form:
    return form(name, row, *(arguments or (SERIES, N)), min_periods=1)


def _from_one(whole: Form, of_zero: str = "expanding window") -> Overload:
    """Refuse N = 0, which is another thing altogether in Qlib, by its name."""
    place = [argument.name for argument in whole.arguments].index("N")

    def choose(given: Sequence[Bound]) -> Form:
        bars = given[place] if place < len(given) else None
        if bars is not None and bars.kind == "number" and bars.value == 0:
            raise Refused(f"N=0 is Qlib's {of_zero}, which depends on where the data begin; use 1 or more", bars.offset)
        return whole

    return choose


def _rolling(whole: Form) -> Overload:
    """Qlib's plain rolling operators: the ewm mean where the window is a fraction."""
    fraction = Form(whole.name, (SERIES, Argument("N", "number")), _exponential)
    checked = _from_one(whole)

    def choose(given: Sequence[Bound]) -> Form:
        is_fraction = len(given) == 2 and given[1].kind == "number" and 0 < float(given[1].value) < 1
        return fraction if is_fraction else checked(given)

    return choose


def _exponential(make: Maker, values: Values) -> Bound:
    return make.row("qlib_ewm", values["x"], values["N"])


def _ema(make: Maker, values: Values) -> Bound:
    span = values["N"]
    if span <= 0:
        raise Refused(f"'N' of EMA is a span of 1 or more, or an alpha between 0 and 1; found {span:g}")
    return make.row("qlib_ewm", values["x"], span if span < 1 else 2.0 / (span + 1.0))


def _count(make: Maker, values: Values) -> Bound:
    return make.row("fill", make.row("ts_count", values["x"], values["N"], min_periods=1), make.number(0.0))


def _moves(make: Maker, x: Bound, bars: int) -> Bound:
    """The mask of windows whose std is above FLAT."""
    return make.row("gt", make.row("ts_std", x, bars, min_periods=1), make.number(FLAT))


def _rsquare(make: Maker, values: Values) -> Bound:
    x, bars = values["x"], values["N"]
    return make.row("qlib_only", make.row("ts_rsquare", x, bars, min_periods=1), _moves(make, x, bars))


def _corr(make: Maker, values: Values) -> Bound:
    x, y, bars = values["x"], values["y"], values["N"]
    correlation = make.row("ts_corr", x, y, bars, min_periods=1)
    return make.row("qlib_only", make.row("qlib_only", correlation, _moves(make, x, bars)), _moves(make, y, bars))


def _cov(make: Maker, values: Values) -> Bound:
    x, y, bars = values["x"], values["y"], values["N"]
    pairs = make.row("ts_count", make.row("add", x, make.row("mul", y, make.number(0.0))), bars, min_periods=1)
    covariance = make.row("fill", make.row("ts_cov", x, y, bars, min_periods=1), make.number(0.0))
    return make.row("qlib_only", covariance, make.row("ge", pairs, make.number(2.0)))


def _moment(row: str, of_flat: float, least: int) -> Callable[[Maker, Values], Bound]:
    """Skewness or kurtosis with pandas' rules for windows without spread."""

    def meaning(make: Maker, values: Values) -> Bound:
        x, bars = values["x"], values["N"]
        highest, lowest = (make.row(name, x, bars, min_periods=1) for name in ("ts_max", "ts_min"))
        flat = make.row("eq", highest, lowest)
        value = make.row("where", flat, make.number(of_flat), make.row(row, x, bars, min_periods=1))
        spread = make.row("gt", make.row("ts_moment", x, bars, 2, min_periods=1), make.number(FLAT_VARIANCE))
        enough = make.row("ge", make.row("ts_count", x, bars, min_periods=1), make.number(float(least)))
        return make.row("qlib_only", value, make.row("and", enough, make.row("or", flat, spread)))

    return meaning


# ---- masks ----------------------------------------------------------------------------------------------------------


def _compared(row: str) -> Callable[[Maker, Values], Bound]:
    def meaning(make: Maker, values: Values) -> Bound:
        return make.row("qlib_definite", make.row(row, values["x"], values["y"]))

    return meaning


def _differs(make: Maker, x: Bound, y: Bound) -> Bound:
    return make.row("not", make.row("qlib_definite", make.row("eq", x, y)))


def _if(make: Maker, values: Values) -> Bound:
    condition = values["condition"]
    if condition.kind != "mask":
        condition = _differs(make, condition, make.number(0.0))
    return make.row("where", condition, values["x"], values["y"])


def _other(make: Maker, values: Values) -> Bound:
    return make.row("of", values["instrument"], values["x"])


def _name(make: Maker, name: str) -> Bound | None:
    if not name.startswith("$"):
        if name in make.fields:
            raise Refused(f"a field is written ${name} in dialect qlib")
        return None
    field = name[1:].lower()
    if field == "factor":
        return make.number(1.0)
    if field == "vwap":
        return make.row("div", make.field("quote_asset_volume"), make.field("volume"))
    return make.field(field) if field in make.fields else None


def _table() -> dict[str, Form | Overload]:
    rolling = {"Mean": "ts_mean", "Sum": "ts_sum", "Max": "ts_max", "Min": "ts_min", "Med": "ts_median"}
    pairwise = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Power": "pow", "Greater": "max2",
                "Less": "min2"}  # fmt: skip
    compared = {"Gt": "gt", "Ge": "ge", "Lt": "lt", "Le": "le", "Eq": "eq"}
    forms: dict[str, Form | Overload] = {
        **{name: form(name, row, X, Y) for name, row in pairwise.items()},
        **{name: Form(name, (X, Y), _compared(row)) for name, row in compared.items()},
        **{name: form(name, name.lower(), X) for name in ("Abs", "Sign", "Log")},
        **{name: _rolling(_window(name, row)) for name, row in rolling.items()},
        **{name: _rolling(_window(name, row, SERIES, N2)) for name, row in (("Std", "ts_std"), ("Var", "ts_var"))},
        **{name: form(name, name.lower(), CONDITION, OTHER_CONDITION) for name in ("And", "Or")},
        "Not": form("Not", "not", CONDITION),
        "Ne": Form("Ne", (X, Y), lambda make, values: _differs(make, values["x"], values["y"])),
        "If": Form("If", (Argument("condition", "value"), X, Y), _if),
        "Count": _rolling(Form("Count", (SERIES, N), _count)),
        "EMA": Form("EMA", (SERIES, Argument("N", "number")), _ema),
        "Ref": _from_one(form("Ref", "shift", SERIES, LAG), "first value of the series"),
        "Delta": _from_one(form("Delta", "delta", SERIES, LAG), "change since the first value of the series"),
        "Mask": Form("Mask", (SERIES, INSTRUMENT), _other),
        "ChangeInstrument": form("ChangeInstrument", "of", INSTRUMENT, SERIES),
    }  # fmt: skip
    windows: tuple[Form, ...] = (
        _window("Mad", "ts_mad"), _window("Rank", "ts_rank"), _window("Slope", "ts_slope", SERIES, N2),
        _window("Resi", "ts_resid", SERIES, N2), _window("Quantile", "ts_quantile", SERIES, N, Q),
        form("IdxMax", "qlib_idxmax", SERIES, N), form("IdxMin", "qlib_idxmin", SERIES, N),
        form("WMA", "qlib_wma", SERIES, N), Form("Rsquare", (SERIES, N2), _rsquare),
        Form("Corr", (LEFT, RIGHT, N2), _corr), Form("Cov", (LEFT, RIGHT, N2), _cov),
        Form("Skew", (SERIES, N3), _moment("ts_skew", 0.0, 3)), Form("Kurt", (SERIES, N4), _moment("ts_kurt", -3.0, 4)),
    )  # fmt: skip
    return {**forms, **{one.name: _from_one(one) for one in windows}}


POINT_IN_TIME = "there are no point-in-time statements of coins"
CLASSES = "a class of Qlib's, not an operator"
SYMBOLS: dict[str, str] = {
    "+": "Add", "-": "Sub", "*": "Mul", "/": "Div", "**": "Power", "<": "Lt", "<=": "Le", ">": "Gt", ">=": "Ge",
    "==": "Eq", "!=": "Ne", "&": "And", "|": "Or",
}  # fmt: skip
INSTEAD: dict[str, Any] = {
    "!": "write Not(x), or '!=' for not equal", "?": "write If(condition, x, y)", ":": "write If(condition, x, y)",
    "[": "use round brackets; the value N bars ago is Ref(x, N)", "~": "write Not(x)",
    "%": "Qlib has no remainder", "$": "a field is $ and its name: $close",
}  # fmt: skip

QLIB = Dialect(
    "qlib",
    "qlib.lark",
    forms=_table(),
    refused={
        **dict.fromkeys(("P", "PRef", "PFeature"), POINT_IN_TIME),
        **dict.fromkeys(("Rolling", "Feature", "PairRolling"), CLASSES),
        "TResample": "an expression has no clock of its own; prepare the factor set at that timeframe",
    },
    infix=SYMBOLS,
    name_of=_name,
    spell=lambda name: f"${name}",
    instead=INSTEAD,
    both="(a < b) & ({})",
)
