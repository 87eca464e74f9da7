"""The language of "101 Formulaic Alphas" (Kakushadze 2016, arXiv 1601.00991, appendix A), as the paper writes it.

Where the paper is silent, the rule is that of the libraries that publish the factors, so that their values reproduce on
data without gaps; the rest is ours:

1. A window or lag that is no whole number is rounded down, as the paper says (some libraries round to the nearest).
2. ``ts_rank(x, d)`` is the rank itself, 1 to d, ties average, as KunQuant and the pandas versions have it. The paper
   says "rank" only and compares it with ``rank(x)``, which is r / n; ``ts_rank(x, d, norm="n")`` is that.
3. ``ts_argmax`` and ``ts_argmin`` ("which day") count from the window's oldest bar: 1 the oldest, d the present one.
   Between equal values the more recent bar is taken.
4. ``stddev`` and ``covariance`` have ddof 1; ``decay_linear`` has weights d .. 1, scaled to sum 1.
5. ``min(x, d)`` and ``max(x, d)`` look along time where d is a number, and take the smaller or larger of two otherwise.
6. A comparison is 1 or 0 where a number stands (``(x < y) * -1``), missing where an operand is.
7. ``returns`` is close to close. ``vwap`` is quote over base volume, ``adv20`` the mean quote volume of 20 bars: the
   paper's dollar volume. ``cap`` is close times ``supply`` of the symbols table.
8. ``IndClass.sector``, ``.industry`` and ``.subindustry`` are the symbols table's columns of that name. Coins have no
   such three levels: a level without a column of its own is the next coarser one, ``sector`` in the end. (Not the
   chain: most coins are alone on theirs, and what is alone in its group is 0 once it is neutralised.)
9. A window in which one of the two series does not move has ``correlation`` and ``covariance`` 0, as most published
   versions have it: ranks often stand still for the three or four bars that some factors look at.
10. Warm-up and gaps are ours: a window needs d bars of the listing episode and nine tenths of its values. On data
   without gaps this is the full window that the libraries ask for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from ....errors import did_you_mean
from ..bound import Bound
from ..signature import Argument
from .interface import Dialect, Form, Maker, Overload, Refused, Values, form, plain_name

X, Y = Argument("x", "value"), Argument("y", "value")
D = Argument("d", "value")
NORM = Argument("norm", "choice", required=False, default="abs", choices=("abs", "n", "n-1"), keyword_only=True)

CLASSES = {
    "indclass.sector": ("sector",),
    "indclass.industry": ("industry", "sector"),
    "indclass.subindustry": ("subindustry", "industry", "sector"),
}
"""Classification -> columns of the symbols table, the first that there is."""
SPELLED = {name: f"IndClass.{name.partition('.')[2]}" for name in CLASSES}
NAMES = ("returns", "vwap", "adv20", "cap")
NEGATIVE = "-x"
"""The form of the prefix operator: no name that a call could have."""
ADV = re.compile(r"adv([0-9]{1,9})", re.ASCII)


def bars(value: Bound, what: str, *, least: int = 1) -> int:
    """Return a window or lag, rounded down; raise `Refused` where it is no literal or too short."""
    if value.kind != "number" or not value.literal:
        found = value.words if value.literal or value.kind != "number" else f"a computed number ({value.value!r})"
        raise Refused(f"{what} must be a number of bars, written as a literal; found {found}", value.offset)
    whole = math.floor(float(value.value))
    if what.startswith("the lag") and whole < 1:
        message = f"{what} is {value.value!r}: look-ahead; it must be 1 or more, as a factor knows only what was known"
        raise Refused(f"{message} at its bar", value.offset)
    if whole < least:
        raise Refused(f"{what} is {value.value!r}; {least} or more is allowed (rounded down)", value.offset)
    return whole


def series(value: Bound, what: str) -> Bound:
    """Return a value that changes from bar to bar; raise `Refused` where it is a number."""
    if value.kind == "number":
        raise Refused(f"{what} must be a series; found {value.words}", value.offset)
    return value


def along(name: str, row: str, *data: str, least: int = 1, noun: str = "window", **literals: Any) -> Form:
    """Return the form of a row along time: its data, then a number of bars."""

    def meaning(make: Maker, values: Values) -> Bound:
        given = [series(values[one], f"{one!r} of {name}") for one in data]
        return make.row(row, *given, bars(values["d"], f"the {noun} 'd' of {name}", least=least), **literals)

    return Form(name, (*(Argument(one, "value") for one in data), D), meaning)


def moving_together(name: str, row: str) -> Form:
    """Return the form of correlation or covariance: the row, and 0 where it has none although the window has values."""

    def meaning(make: Maker, values: Values) -> Bound:
        x, y = (series(values[one], f"{one!r} of {name}") for one in ("x", "y"))
        d = bars(values["d"], f"the window 'd' of {name}", least=2)
        enough = make.row("ts_mean", make.row("add", x, y), d)
        return make.row("fill", make.row(row, x, y, d), make.row("mul", enough, make.number(0.0)))

    return Form(name, (X, Y, D), meaning)


def across(name: str, row: str) -> Form:
    """Return the form of a row across symbols."""

    def meaning(make: Maker, values: Values) -> Bound:
        return make.row(row, series(values["x"], f"'x' of {name}"))

    return Form(name, (X,), meaning)


def ranked() -> Form:
    """Return the form of ts_rank."""

    def meaning(make: Maker, values: Values) -> Bound:
        x, d = series(values["x"], "'x' of ts_rank"), bars(values["d"], "the window 'd' of ts_rank")
        return make.row("ts_rank", x, d, norm=values.get("norm", NORM.default))

    return Form("ts_rank", (X, D, NORM), meaning)


def which_day(name: str) -> Form:
    """Return the form of ts_argmax or ts_argmin: 1 for the window's oldest bar, d for the present one."""

    def meaning(make: Maker, values: Values) -> Bound:
        d = bars(values["d"], f"the window 'd' of {name}")
        return make.row("sub", make.number(float(d)), make.row(name, series(values["x"], f"'x' of {name}"), d))

    return Form(name, (X, D), meaning)


def extreme(name: str) -> Overload:
    """Return the choice between an extreme along time and the one of two values."""
    over_time, of_two = along(name, f"ts_{name}", "x"), form(name, f"{name}2", X, Y)

    def choose(given: Sequence[Bound]) -> Form:
        return over_time if len(given) == 2 and given[1].kind == "number" else of_two

    return choose


def scaled() -> Form:
    """Return the form of scale."""
    factor = Argument("a", "number", required=False, default=1)

    def meaning(make: Maker, values: Values) -> Bound:
        return make.row("cs_scale", series(values["x"], "'x' of scale"), a=values.get("a", 1.0))

    return Form("scale", (X, factor), meaning)


def neutralized() -> Form:
    """Return the form of indneutralize."""

    def meaning(make: Maker, values: Values) -> Bound:
        return make.row("grp_demean", series(values["x"], "'x' of indneutralize"), values["g"])

    return Form("indneutralize", (X, Argument("g", "group")), meaning)


def name_of(make: Maker, name: str) -> Bound | None:
    """Return what a name of the paper is: a field, a classification or one of the derived series."""
    key = name.lower()
    if key in CLASSES or key.startswith("indclass."):
        return _group(make, name, key)
    if key == "returns":
        return make.row("returns", make.field("close"), 1)
    if key == "vwap":
        return make.row("vwap")
    if key == "cap":
        if "supply" not in make.fields:
            raise Refused("'cap' is close times supply, and no symbols table has a column 'supply'")
        return make.row("mul", make.field("supply"), make.field("close"))
    days = ADV.fullmatch(key)
    if days:
        if int(days[1]) < 1:
            raise Refused(f"{name!r} is the mean of no bar; adv1 or more is allowed")
        return make.row("adv", int(days[1]))
    return plain_name(make, name) or plain_name(make, key)


def _group(make: Maker, name: str, key: str) -> Bound:
    if key not in CLASSES:
        hint = did_you_mean(name, SPELLED.values()) or f"; allowed are {', '.join(SPELLED.values())}"
        raise Refused(f"there is no classification {name[:60]!r}{hint}")
    for column in CLASSES[key]:
        if column in make.fields:
            return make.field(column)
    columns = " or ".join(repr(column) for column in CLASSES[key])
    raise Refused(f"{SPELLED[key]} needs the column {columns} of a symbols table")


def symbols() -> dict[str, Form]:
    """Return the infix and prefix operators: a comparison counts as 1 or 0 in all but the logical ones."""
    either = (X, Y)
    numbers = {"+": "add", "-": "sub", "*": "mul", "/": "div", "^": "pow"}
    numbers |= {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
    masks = (Argument("c", "mask"), Argument("e", "mask"))
    choice = (Argument("c", "mask"), Argument("a", "value"), Argument("b", "value"))
    return {
        **{symbol: form(symbol, row, *either) for symbol, row in numbers.items()},
        **{symbol: form(symbol, row, *masks) for symbol, row in (("&&", "and"), ("||", "or"))},
        NEGATIVE: form(NEGATIVE, "neg", X),
        "?:": form("?:", "where", *choice),
    }


FORMS: dict[str, Form | Overload] = {
    **symbols(),
    **{name: form(name, name, X) for name in ("abs", "log", "sign")},
    "signedpower": form("signedpower", "signed_power", X, Argument("a", "value")),
    "rank": across("rank", "cs_rank"),
    "scale": scaled(),
    "indneutralize": neutralized(),
    "delay": along("delay", "shift", "x", noun="lag"),
    "delta": along("delta", "delta", "x", noun="lag"),
    "correlation": moving_together("correlation", "ts_corr"),
    "covariance": moving_together("covariance", "ts_cov"),
    "stddev": along("stddev", "ts_std", "x", least=2),
    "decay_linear": along("decay_linear", "decay_linear", "x"),
    "sum": along("sum", "ts_sum", "x"),
    "product": along("product", "ts_product", "x"),
    "ts_min": along("ts_min", "ts_min", "x"),
    "ts_max": along("ts_max", "ts_max", "x"),
    "ts_argmin": which_day("ts_argmin"),
    "ts_argmax": which_day("ts_argmax"),
    "ts_rank": ranked(),
    "min": extreme("min"),
    "max": extreme("max"),
}
"""Every call of the paper, lower case."""

ALPHA101 = Dialect(
    "alpha101",
    "alpha101.lark",
    forms=FORMS,
    infix={symbol: symbol for symbol in FORMS if not symbol.isidentifier() and symbol != NEGATIVE},
    prefix={"-": NEGATIVE},
    name_of=name_of,
    names=(*NAMES, *SPELLED.values()),
    ignore_case=True,
    instead={
        "&": "write '&&'", "|": "write '||'", "=": "write '==' to compare", "%": "the paper has no remainder",
        "!": "write '!=' for not equal", "^": "a power needs two operands", "?": "write condition ? a : b",
        ":": "write condition ? a : b", ".": "only IndClass.sector, .industry and .subindustry have a dot",
    },
    both="(a < b) && ({})",
)  # fmt: skip
"""See the module's first lines."""
