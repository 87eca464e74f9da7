"""THE operator table. To add an operator: a kernel, a row here, its twin in ``tests/reference.py``.

Everything else is read from the rows: the parser's type rules, look-back, error messages, ``--list-operators`` and the
laws that the tests hold every row to. Importing this module compiles nothing.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ..kernels.context import Context, Operand
from .signature import Argument, Literals, Operator, apply, constant

__all__ = ["ALIASES", "OPERATORS", "Argument", "Context", "Literals", "Operand", "Operator", "apply", "constant"]

# ---- arguments that many rows share ---------------------------------------------------------------------------------
X, Y = Argument("x", "operand"), Argument("y", "operand")
SERIES, OTHER = Argument("x", "series"), Argument("y", "series")
D = Argument("d", "window")
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


def limit_lookback(literals: Literals) -> int | None:
    """At most `limit` bars, or the whole episode without a limit."""
    return None if literals["limit"] is None else int(literals["limit"])


def episode_lookback(literals: Literals) -> None:
    """From the episode's first bar."""


# ---- combinations of literals that make no sense --------------------------------------------------------------------


def check_window(literals: Literals) -> str | None:
    """Refuse more valid values than the window has bars."""
    chosen = literals["min_periods"]
    if chosen is not None and chosen > literals["d"]:
        return f"min_periods={chosen} can never be met in a window of {literals['d']} bars"
    return None


def check_edges(literals: Literals) -> str | None:
    """Refuse bucket edges that do not ascend."""
    edges = literals["edges"]
    if any(left >= right for left, right in pairwise(edges)):
        return "bucket edges must ascend strictly"
    return None


# ---- missing rules --------------------------------------------------------------------------------------------------
IN_OUT = "missing where an operand is"
WINDOW = "until the episode is d bars old, and with fewer than ceil((1 - gap_tolerance) d) valid values in W"
PAIRS = WINDOW + " (rows where both are valid)"
MEMBERS = "outside the population (universe members, tradable) and where x is; others do not notice"

# ---- row makers: the words of a family stand once -------------------------------------------------------------------


def _unary(name: str, formula: str, doc: str, outside: str = "", **more: Any) -> Operator:
    missing = IN_OUT + (f", and {outside}" if outside else "")
    return Operator(
        name, (X,), "series", "elementwise", no_lookback, f"elementwise:{name}", doc, formula, missing,
        more.pop("example", f"{name}(close)"), **more,
    )  # fmt: skip


def _binary(name: str, formula: str, doc: str, example: str, outside: str = "", **more: Any) -> Operator:
    missing = IN_OUT + (f", and {outside}" if outside else "")
    arguments = more.pop("arguments", (X, Y))
    return Operator(
        name, arguments, more.pop("result", "series"), "elementwise", no_lookback, f"elementwise:{name}", doc,
        formula, more.pop("missing", missing), example, **more,
    )  # fmt: skip


def _logic(name: str, kernel: str, formula: str, doc: str, missing: str, example: str, **more: Any) -> Operator:
    arguments = more.pop("arguments", (Argument("c", "mask"), Argument("e", "mask")))
    return Operator(
        name, arguments, "mask", "elementwise", no_lookback, f"elementwise:{kernel}", doc, formula, missing, example,
        **more,
    )  # fmt: skip


def _lagged(name: str, formula: str, doc: str, missing: str, **more: Any) -> Operator:
    return Operator(
        name, (SERIES, Argument("d", "lag")), "series", "time", lag_lookback, f"lagged:{name}", doc, formula, missing,
        f"{name}(close, 3)", **more,
    )  # fmt: skip


def _window(name: str, kernel: str, formula: str, doc: str, **more: Any) -> Operator:
    arguments = (*more.pop("data", (SERIES,)), more.pop("window", D), *more.pop("literals", ()), MIN_PERIODS)
    return Operator(
        name, arguments, "series", "time", window_lookback, kernel, doc, formula, more.pop("missing", WINDOW),
        more.pop("example", f"{name}(close, 14)"), check=check_window, **more,
    )  # fmt: skip


def _cross(name: str, formula: str, doc: str, example: str, **more: Any) -> Operator:
    arguments = (SERIES, *more.pop("literals", ()))
    return Operator(
        name, arguments, "series", "cross", no_lookback, f"crosssection:{name}", doc, formula,
        more.pop("missing", MEMBERS), example, **more,
    )  # fmt: skip


D2 = Argument("d", "window", low=2)
LO, HI = Argument("lo", "operand"), Argument("hi", "operand")
CONDITION = Argument("c", "mask")
ZERO = "where y is 0"

_INFIX = (
    _binary("add", "x + y", "Sum.", "close + open", symbol="+"),
    _binary("sub", "x - y", "Difference.", "close - open", symbol="-"),
    _binary("mul", "x * y", "Product.", "close * volume", symbol="*"),
    _binary("div", "x / y", "Quotient.", "close / open", ZERO, symbol="/"),
    _binary("mod", "x - y floor(x / y)", "Remainder with the sign of y.", "close % 10", ZERO, symbol="%"),
    _binary("pow", "x ** y", "Power; 0 ** 0 is 1.", "close ** 2",
            "where it is no finite real number: 0 ** negative, negative ** fraction",
            symbol="**", aliases=("power",)),
    _unary("neg", "-x", "Opposite sign.", example="-close", symbol="-"),
    _binary("lt", "x < y", "Less than.", "close < open", result="mask", symbol="<"),
    _binary("le", "x <= y", "Less than or equal.", "close <= open", result="mask", symbol="<="),
    _binary("gt", "x > y", "Greater than.", "close > open", result="mask", symbol=">"),
    _binary("ge", "x >= y", "Greater than or equal.", "close >= open", result="mask", symbol=">="),
    _binary("eq", "x == y", "Equal, to the last bit.", "close == high", result="mask", symbol="=="),
    _binary("ne", "x != y", "Not equal.", "close != high", result="mask", symbol="!="),
    _logic("and", "logical_and", "c and e", "Both (Kleene).",
           "false where one is false, else missing where one is missing",
           "close > open and volume > 0", symbol="and"),
    _logic("or", "logical_or", "c or e", "Either (Kleene).",
           "true where one is true, else missing where one is missing",
           "close > open or volume > 0", symbol="or"),
    _logic("not", "logical_not", "not c", "Opposite.", "missing where c is", "not close > open",
           arguments=(CONDITION,), symbol="not"),
    _logic("xor", "logical_xor", "c != e", "One and not the other.", "missing where one is",
           "xor(close > open, volume > 0)"),
)  # fmt: skip

_ELEMENTWISE = (
    _unary("abs", "|x|", "Absolute value.", sign="non-negative"),
    _unary("sign", "-1, 0 or 1", "Sign.", example="sign(close - open)"),
    _unary("sqrt", "x ** 0.5", "Square root.", "where x < 0", sign="non-negative"),
    _unary("cbrt", "x ** (1/3), negative for negative x", "Cube root."),
    _unary("square", "x * x", "Square.", sign="non-negative"),
    _unary("exp", "e ** x", "Exponential.", "on overflow", sign="non-negative", example="exp(close / open)"),
    _unary("expm1", "e ** x - 1, accurate near 0", "Exponential less one.", "on overflow",
           example="expm1(close / open)"),
    _unary("log", "ln x", "Natural logarithm.", "where x <= 0"),
    _unary("log10", "ln x / ln 10", "Logarithm to base 10.", "where x <= 0"),
    _unary("log2", "ln x / ln 2", "Logarithm to base 2.", "where x <= 0"),
    _unary("log1p", "ln(1 + x), accurate near 0", "Logarithm of one plus x.", "where x <= -1"),
    _unary("sin", "sin x", "Sine of radians."),
    _unary("cos", "cos x", "Cosine of radians."),
    _unary("tan", "tan x", "Tangent of radians."),
    _unary("asin", "arcsin x", "Inverse sine.", "where |x| > 1", example="asin(open / high)"),
    _unary("acos", "arccos x", "Inverse cosine.", "where |x| > 1", sign="non-negative", example="acos(open / high)"),
    _unary("atan", "arctan x", "Inverse tangent."),
    _binary("atan2", "angle of the point (y, x): arctan(x / y) in the right quadrant",
            "Two-argument inverse tangent; the first operand is the ordinate.", "atan2(close, open)"),
    _unary("sinh", "(e^x - e^-x) / 2", "Hyperbolic sine.", "on overflow", example="sinh(close / open)"),
    _unary("cosh", "(e^x + e^-x) / 2", "Hyperbolic cosine.", "on overflow", sign="positive",
           example="cosh(close / open)"),
    _unary("tanh", "sinh x / cosh x", "Hyperbolic tangent."),
    _unary("sigmoid", "1 / (1 + e^-x)", "Logistic function.", sign="non-negative"),
    _unary("logit", "ln(x / (1 - x))", "Inverse of the logistic function.", "outside 0 < x < 1",
           example="logit(open / (open + close))"),
    _unary("softsign", "x / (1 + |x|)", "Soft sign."),
    _unary("floor", "largest integer <= x", "Round down."),
    _unary("ceil", "smallest integer >= x", "Round up."),
    _binary("round", "nearest to x 10^k, over 10^k; a half goes to the even neighbour", "Round to decimals.",
            "round(close, 2)", arguments=(X, Argument("decimals", "count", required=False, default=0, high=15)),
            ties="half to even"),
    _unary("fraction", "x - trunc(x)", "Part after the point, with the sign of x."),
    _unary("inverse", "1 / x", "Reciprocal.", "where x is 0"),
    _binary("signed_power", "sign(x) |x| ** a", "Power that keeps the sign.", "signed_power(close - open, 0.5)",
            "where it is not finite", arguments=(X, Argument("a", "operand")), aliases=("signedpower",)),
    _unary("s_log_1p", "sign(x) ln(1 + |x|)", "Logarithm that keeps the sign."),
    _binary("max2", "largest operand", "Largest of two or more operands.", "max2(open, close)",
            arguments=(X, Argument("y", "operand", variadic=True)), aliases=("greater",)),
    _binary("min2", "smallest operand", "Smallest of two or more operands.", "min2(open, close)",
            arguments=(X, Argument("y", "operand", variadic=True)), aliases=("less",)),
    _binary("clip", "min(max(x, lo), hi)", "Keep within bounds.", "clip(close / open, 0.9, 1.1)", "where lo > hi",
            arguments=(X, LO, HI)),
    _binary("where", "a where c, else b", "Choose by a mask.", "where(close > open, volume, 0)",
            arguments=(CONDITION, Argument("a", "operand"), Argument("b", "operand")),
            missing="where c is, and where the chosen operand is", aliases=("if_else", "iff")),
    _logic("between", "between", "lo <= x <= hi", "Inside bounds, bounds included.", IN_OUT,
           "between(close, low, high)", arguments=(X, LO, HI)),
    _logic("is_nan", "is_nan", "x is missing", "Missing value test.", "never", "is_nan(close)",
           arguments=(Argument("x", "any"),)),
    _binary("fill", "x, or v where x is missing", "Replace missing values.", "fill(volume, 0)",
            arguments=(SERIES, Argument("v", "operand")), missing="where both are", aliases=("fillna",)),
    _binary("nan_out", "x where lo <= x <= hi", "Blank values outside bounds.", "nan_out(close / open, 0.5, 2)",
            arguments=(X, LO, HI), missing=IN_OUT + ", and outside the bounds"),
    _binary("div_safe", "x / y where |y| > eps", "Quotient that refuses tiny divisors.",
            "div_safe(close, volume, 0.000001)", "where |y| <= eps",
            arguments=(X, Y, Argument("eps", "number", low=0))),
    _binary("bucket", "number of edges below x: group k is (edge k-1, edge k]", "Right-closed group numbers from 0.",
            "bucket(close / open, 0.99, 1, 1.01)", arguments=(X, Argument("edges", "number", variadic=True)),
            check=check_edges, sign="non-negative"),
)  # fmt: skip

AGO = "where x is missing at t or t-d, and where the episode is not yet d+1 bars old"
_ALONG_TIME = (
    _lagged("shift", "x[t-d]", "Value d bars ago.",
            "where x[t-d] is missing, and where the episode is not yet d+1 bars old", aliases=("delay", "ts_delay")),
    _lagged("delta", "x[t] - x[t-d]", "Change over d bars.", AGO, aliases=("ts_delta",)),
    _lagged("returns", "x[t] / x[t-d] - 1", "Fractional change over d bars.", AGO + ", or x[t-d] is 0",
            aliases=("pct_change",)),
    _lagged("logret", "ln x[t] - ln x[t-d]", "Logarithmic change over d bars.", AGO + ", or either is not positive",
            aliases=("log_diff",)),
    _window("ts_sum", "rolling:ts_sum", "sum of W", "Sum of the valid values, unscaled."),
    _window("ts_mean", "rolling:ts_mean", "sum of W / n", "Mean."),
    _window("ts_std", "rolling:ts_std", "sqrt(sum (x - mean)^2 / (n - ddof))", "Standard deviation.", window=D2,
            literals=(DDOF,), missing=WINDOW + ", and where n <= ddof", ddof="1, or 0 by argument",
            sign="non-negative", aliases=("stddev",)),
    _window("ts_var", "rolling:ts_var", "sum (x - mean)^2 / (n - ddof)", "Variance.", window=D2, literals=(DDOF,),
            missing=WINDOW + ", and where n <= ddof", ddof="1, or 0 by argument", sign="non-negative"),
    _window("ts_zscore", "rolling:ts_zscore", "(x - mean) / std", "Distance from the mean in standard deviations.",
            window=D2, missing=WINDOW + ", where x is, and where the window is flat", ddof="1"),
    _window("ts_min", "extreme:ts_min", "min of W", "Smallest value."),
    _window("ts_max", "extreme:ts_max", "max of W", "Largest value."),
    _window("ts_argmin", "extreme:ts_argmin", "bars since min of W, 0 = now", "Bars since the smallest value.",
            ties="the most recent wins", sign="non-negative", aliases=("idxmin",)),
    _window("ts_argmax", "extreme:ts_argmax", "bars since max of W, 0 = now", "Bars since the largest value.",
            ties="the most recent wins", sign="non-negative", aliases=("idxmax",)),
    _window("ts_median", "ordered:ts_median", "middle of the sorted W, mean of the middle two", "Median."),
    _window("ts_quantile", "ordered:ts_quantile", "value at position q (n - 1) of the sorted W, linear in between",
            "Quantile.", literals=(Argument("q", "number", low=0, high=1),), example="ts_quantile(close, 14, 0.8)"),
    _window("ts_rank", "ranked:ts_rank", "r / n; (r - 1) / (n - 1) with norm n-1; r with norm abs; r = rank of x in W",
            "Rank of the present value among the valid values of W, smallest first.",
            literals=(Argument("norm", "choice", required=False, default="n", choices=("n", "n-1", "abs"),
                               keyword_only=True),),
            missing=WINDOW + ", and where x is", ties="average rank", sign="non-negative"),
    _window("ts_count", "rolling:ts_count", "n", "Number of valid values.",
            missing="until the episode is d bars old; the gap rule does not apply", data=(Argument("x", "any"),),
            sign="non-negative"),
    _window("ts_count_true", "rolling:ts_sum", "number of true values in W", "Number of bars where the mask holds.",
            data=(CONDITION,), example="ts_count_true(close > open, 14)", sign="non-negative"),
    _window("ts_slope", "pair:ts_slope", "sum (i - mean i)(x - mean x) / sum (i - mean i)^2, i = 1..d, valid rows",
            "Slope per bar of the least-squares line through W.", window=D2,
            missing=WINDOW + ", and with fewer than two valid values"),
    _window("ts_cov", "pair:ts_cov", "sum (x - mean x)(y - mean y) / (n - ddof)", "Covariance.", window=D2,
            data=(SERIES, OTHER), literals=(DDOF,), ddof="1, or 0 by argument",
            missing=PAIRS + ", and where the std of either is below 1e-12 of its largest |value| in W",
            example="ts_cov(close, volume, 14)", aliases=("covariance",)),
    _window("ts_corr", "pair:ts_corr", "cov(x, y) / (std x std y)", "Pearson correlation.", window=D2,
            data=(SERIES, OTHER), ddof="none: it cancels",
            missing=PAIRS + ", and where the std of either is below 1e-12 of its largest |value| in W",
            example="ts_corr(close, volume, 14)", aliases=("correlation",)),
    _window("decay_linear", "weighted:decay_linear", "sum w x / sum w over valid rows, w = 1 (oldest) .. d (now)",
            "Linearly weighted mean, newest heaviest; missing rows drop out and the other weights are rescaled to 1.",
            aliases=("wma",)),
)  # fmt: skip

_EXPONENTIAL = "where x is, and before the span-th valid value of the episode; a missing bar does not move the state"
_RECURSIVE = (
    Operator("ema", (SERIES, Argument("span", "window")), "series", "recursive", episode_lookback, "exponential:ema",
             "Exponential mean from the episode's first valid value (adjust=False).",
             "y += a (x - y), a = 2 / (span + 1)", _EXPONENTIAL, "ema(close, 12)"),
    Operator("rma", (SERIES, D), "series", "recursive", episode_lookback, "exponential:rma",
             "Wilder's exponential mean from the episode's first valid value.", "y += a (x - y), a = 1 / d",
             _EXPONENTIAL.replace("span-th", "d-th"), "rma(close, 14)"),
    Operator("ffill", (SERIES, Argument("limit", "window", required=False)), "series", "recursive", limit_lookback,
             "lagged:ffill", "Last valid value of the episode, at most `limit` bars old.",
             "x at the last valid bar", "before the first valid value, and beyond `limit` missing bars in a row",
             "ffill(close, 3)"),
)  # fmt: skip

_CROSS = (
    _cross("cs_rank", "r / n, r = rank among the members", "Rank among the members, smallest first.", "cs_rank(close)",
           ties="average rank", sign="positive", aliases=("rank",)),
    _cross("cs_zscore", "(x - mean) / std", "Distance from the members' mean in standard deviations.",
           "cs_zscore(close)", literals=(DDOF,), ddof="1, or 0 by argument",
           missing=MEMBERS + "; all where the members are equal or n <= ddof"),
    _cross("cs_demean", "x - mean", "Distance from the members' mean.", "cs_demean(close)"),
    _cross("cs_scale", "a x / sum |x|", "Scale the members so that sum |x| = a.", "cs_scale(close)",
           literals=(Argument("a", "number", required=False, default=1),), missing=MEMBERS + "; all where sum |x| is 0",
           aliases=("scale",)),
    _cross("cs_winsorize", "x clipped to the members' quantiles q and 1 - q (linear)", "Pull in the extremes.",
           "cs_winsorize(close, 0.05)", literals=(Argument("q", "number", low=0, high=0.5),)),
    _cross("cs_top_bottom", "1 for the k largest, -1 for the k smallest, else 0; k at most n / 2",
           "Mark the two ends of the cross-section.", "cs_top_bottom(close, 2)",
           literals=(Argument("k", "count", low=1),), ties="the earlier symbol name counts as larger"),
)  # fmt: skip

_ROWS = (*_INFIX, *_ELEMENTWISE, *_ALONG_TIME, *_RECURSIVE, *_CROSS)
OPERATORS: dict[str, Operator] = {row.name: row for row in _ROWS}
"""Every operator by name."""

ALIASES: dict[str, str] = {alias: row.name for row in OPERATORS.values() for alias in row.aliases}
"""Other names -> name."""
