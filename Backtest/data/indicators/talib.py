"""TA-Lib's functions as library factors, under TA-Lib's names: ``Backtest.data.indicators.talib:RSI``.

They are made from TA-Lib's own table (``talib.abstract``): inputs are the fields that it names (``close`` for a single
series, ``high`` and ``low`` for a pair), params its own (``timeperiod``, ``matype``) with its defaults. A function of
several outputs takes ``output``, one of TA-Lib's names for them, the first by default: MACD has ``macd``,
``macdsignal`` and ``macdhist``.

Missing rule: a bar that lacks any input gets no value and ends a segment; what follows is computed as if the symbol had
been listed on the next bar, TA-Lib's warm-up included. (Left alone, TA-Lib has no value after its first missing one.)

Look-back: TA-Lib's own for the functions in WINDOWED. All others carry something from bar to bar, an average or a
running sum, so that their values depend on where the data begin, if only in the last digit; they are computed from the
episode's first bar on, and no ``--start`` changes a bit.

Left out: what needs a series that is no field (``MAVP``) and what returns row numbers (``MAXINDEX`` and kin, for which
the language has ``ts_argmax``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RecipeError
from ..library import library_factor
from ..schema import FIELDS
from .windows import Floats, check_choice

try:
    import talib as _talib
    from talib import abstract as _abstract
except ImportError:
    raise RecipeError("TA-Lib is not installed; pip install ta-lib, as pinned in Backtest/requirements.txt") from None

WINDOWED = frozenset(
    """ADD SUB MULT DIV MAX MIN MINMAX AVGPRICE MEDPRICE TYPPRICE WCLPRICE BOP TRANGE MOM ROC ROCP ROCR ROCR100 WILLR
    AROON AROONOSC MIDPOINT MIDPRICE LINEARREG LINEARREG_ANGLE LINEARREG_INTERCEPT LINEARREG_SLOPE TSF ACOS ASIN ATAN
    CEIL COS COSH EXP FLOOR LN LOG10 SIN SINH SQRT TAN TANH""".split()
)
"""Functions whose value rests on its window alone, bit for bit (a test holds them to it)."""

ROW_NUMBERS = frozenset(("MAXINDEX", "MININDEX", "MINMAXINDEX"))
LEAST: Mapping[str, Mapping[str, int]] = {"MACD": {"signalperiod": 2}, "MACDFIX": {"signalperiod": 2}}
"""Params that TA-Lib allows to be less, and then shows memory that it never set (seen in 0.6.4: MACD, signal 1)."""

_OUTPUT = "output"


def _inputs(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the series that a function takes, in the order of its arguments."""
    found: list[str] = []
    for names in info["input_names"].values():
        found.extend([names] if isinstance(names, str) else names)
    return tuple(found)


def _own_lookback(name: str, params: Mapping[str, Any]) -> int:
    """Return TA-Lib's look-back, which is also its warm-up; raise RecipeError for params that it does not take."""
    for param, least in LEAST.get(name, {}).items():
        if params[param] < least:
            raise RecipeError(f"{name}: {param} is {params[param]}; allowed is {least} or more")
    function = _abstract.Function(name)
    function.parameters = dict(params)
    lookback = int(function.lookback)
    if lookback < 0:
        shown = ", ".join(f"{param}={value!r}" for param, value in params.items())
        raise RecipeError(f"TA-Lib does not take {name}({shown}): a param is outside its range")
    return lookback


def _segments(valid: NDArray[np.bool_]) -> Iterator[slice]:
    """Yield the runs of True."""
    edges = np.flatnonzero(np.diff(valid, prepend=False, append=False)).tolist()
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        yield slice(begin, end)


def _run(name: str, arrays: tuple[Floats, ...], params: Mapping[str, Any], place: int) -> Floats:
    """Return one output of a function, float64 [T, S], column by column and segment by segment."""
    warmup = _own_lookback(name, params)
    out = np.full(arrays[0].shape, np.nan)
    valid = np.logical_and.reduce([np.isfinite(values) for values in arrays])
    for column in range(out.shape[1]):
        for rows in _segments(valid[:, column]):
            if rows.stop - rows.start <= warmup:
                continue
            pieces = [np.ascontiguousarray(values[rows, column]) for values in arrays]
            found = getattr(_talib, name)(*pieces, **params)
            values = found[place] if isinstance(found, (tuple, list)) else found
            out[rows.start + warmup : rows.stop, column] = values[warmup:]  # before: NaN, but 0 where it gives integers
    return out


def _factor(name: str, info: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the library factor of one TA-Lib function."""
    inputs, outputs, defaults = _inputs(info), tuple(info["output_names"]), dict(info["parameters"])
    optional = {_OUTPUT: outputs[0]} if len(outputs) > 1 else {}

    def split(given: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        params = {param: type(default)(given.get(param, default)) for param, default in defaults.items()}
        return params, outputs.index(check_choice(given.get(_OUTPUT, outputs[0]), outputs, name=_OUTPUT))

    def function(*arrays: Floats, **given: Any) -> Floats:
        params, place = split(given)
        return _run(name, arrays, params, place)

    def lookback(**given: Any) -> Any:
        own = _own_lookback(name, split(given)[0])
        return own if name in WINDOWED else None

    params = [
        inspect.Parameter(param, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=type(default))
        for param, default in {**defaults, **optional}.items()
    ]
    fields = [inspect.Parameter(field, inspect.Parameter.POSITIONAL_OR_KEYWORD) for field in inputs]
    setattr(function, "__signature__", inspect.Signature([*fields, *params]))  # noqa: B010  (mypy knows no such attribute)
    setattr(lookback, "__signature__", inspect.Signature(params))  # noqa: B010
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{info['display_name']} ({info['group']}), outputs {', '.join(outputs)}; see the module."
    return library_factor(lookback=lookback)(function)


def _table() -> dict[str, Callable[..., Any]]:
    """Return name -> library factor for every TA-Lib function that fields are enough for."""
    made = {}
    for name in sorted(_talib.get_functions()):
        info = _abstract.Function(name).info
        if name not in ROW_NUMBERS and set(_inputs(info)) <= set(FIELDS):
            made[name] = _factor(name, info)
    return made


FACTORS = _table()
globals().update(FACTORS)
