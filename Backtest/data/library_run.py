"""Calling a library function, which anyone may have written: what goes in, what may come out, how long it may take.

1. `_calls` cuts the panel into calls: one listing episode of one symbol each, or the whole panel when the function
   compares symbols (then once more for every further episode of a symbol, with the earlier ones hidden).
2. `_call` hands over read-only copies, turns what the function raises into a RecipeError, and checks what it returns.
3. `_check_causal` calls once more on fewer bars: a value that changes when later bars go has used the future; one that
   changes when bars before the stated look-back go needs more than it says.
4. All of it runs in a thread with a time limit (`_limited`); what the function prints goes to the log.
"""

from __future__ import annotations

import io
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import module_from_spec
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError
from ..logs import LOGGER
from .dsl.engine import counted
from .dsl.steps import LibraryCall
from .library import SYMBOLS, TIMESTAMP
from .panel import Panel

Floats = NDArray[np.float64]
Result = TypeVar("Result")

PRINT_LIMIT = 10_000
"""Characters of a function's output that the log takes."""

CHECK_ROWS = 5_000
"""Most rows of a causality check: it repeats the work on them."""

RELATIVE, ABSOLUTE = 1e-7, 1e-9
"""Allowed change between two calls, relative to the value and to the largest one: sums may round in another order,
a leak or a short look-back changes leading digits."""


@dataclass(frozen=True)
class _Call:
    """Rows and columns that one call sees, and those of its result that are used."""

    rows: slice
    columns: slice
    keep_rows: slice
    keep_columns: slice
    hidden: tuple[int, int] | None = None
    """(column, row): this column is missing before this row."""


@dataclass
class _Runner:
    call: LibraryCall
    panel: Panel
    where: str
    function: Callable[..., Any]

    def run(self, out: Floats, check: bool) -> int:
        """Fill `out` and return how many infinite values were made missing in output rows of the run's symbols."""
        out.fill(np.nan)
        longest: tuple[int, _Call, Floats] | None = None
        with np.errstate(all="ignore"):
            for part in _calls(self.call, self.panel):
                values = self.invoke(part)
                out[part.keep_rows, part.keep_columns] = values[
                    part.keep_rows.start - part.rows.start : part.keep_rows.stop - part.rows.start,
                    part.keep_columns.start - part.columns.start : part.keep_columns.stop - part.columns.start,
                ]
                if longest is None or len(values) > longest[0]:
                    longest = (len(values), part, values)
            if longest and check:
                self.check_causal(longest[1], longest[2])
        out[self.panel.age == 0] = np.nan
        bad = np.isinf(out)
        infinite = int(np.count_nonzero(bad[self.panel.warmup :, counted(self.panel)]))
        out[bad] = np.nan
        return infinite

    def invoke(self, part: _Call) -> Floats:
        """Call the function on a part of the panel and return its checked result."""
        arguments = [self.argument(name, part) for name in self.call.inputs]
        try:
            result = self.function(*arguments, **dict(self.call.params))
        except (Exception, SystemExit) as problem:
            raise RecipeError(f"{self.where}: {self.call.source} {_raised(problem)}") from None
        shape = (part.rows.stop - part.rows.start, part.columns.stop - part.columns.start)
        return self.checked(result, shape)

    def argument(self, name: str, part: _Call) -> Any:
        if name == SYMBOLS:
            return self.panel.symbols[part.columns]
        if name == TIMESTAMP:
            stamps = self.panel.timestamp[part.rows]
            stamps.setflags(write=False)
            return stamps
        values = np.array(self.panel.fields[name][part.rows, part.columns], dtype=np.float64, order="C")
        values[self.panel.age[part.rows, part.columns] == 0] = np.nan
        if part.hidden:
            column, row = part.hidden
            values[: row - part.rows.start, column - part.columns.start] = np.nan
        values.setflags(write=False)
        return values[:]  # a view: its owner being read-only, the function cannot make it writable again

    def checked(self, result: Any, shape: tuple[int, int]) -> Floats:
        """Return the result as float64 [T, S], refusing anything else."""
        who = f"{self.where}: {self.call.source} returned"
        if type(result) is not np.ndarray:
            raise RecipeError(f"{who} a {type(result).__name__}; a NumPy array of shape {shape} is allowed")
        if result.shape != shape:
            raise RecipeError(f"{who} an array of shape {result.shape}; its input had {shape}")
        if result.dtype.kind not in "biuf":
            raise RecipeError(f"{who} an array of {result.dtype}; real numbers are allowed")
        return result.astype(np.float64)

    def check_causal(self, part: _Call, values: Floats) -> None:
        """Repeat a call on fewer bars and compare."""
        rows = len(values)
        cut = min(rows // 2, CHECK_ROWS)
        if cut:
            head = self.invoke(_between(part, 0, cut))
            if not _same(head, values[:cut], values):
                raise RecipeError(
                    f"{self.where}: {self.call.source} gives other values when later bars are cut off: "
                    "it uses the future, or gives something else on every call"
                )
        lookback = self.call.lookback
        if lookback is None or part.hidden or rows < 2 * (lookback + 1):
            return
        cut = max(rows // 2, rows - lookback - CHECK_ROWS)
        tail = self.invoke(_between(part, cut, rows))
        if not _same(tail[lookback:], values[cut + lookback :], values):
            raise RecipeError(
                f"{self.where}: {self.call.source} states a look-back of {lookback} bars, but values change when "
                "older bars are cut off; state more, or none for the whole episode"
            )


def planned_function(call: LibraryCall, *, fresh: bool = False) -> Callable[..., Any]:
    """Return the function of a call, which compiling the recipe held to the allow-list.

    With `fresh` its module is run once more, beside the one that is imported: the function of that copy has seen no
    call yet, so it shows what it keeps from call to call.
    """
    name, _, attribute = call.source.partition(":")
    function: Callable[..., Any] = getattr(import_module(name), attribute)
    spec = sys.modules[function.__module__].__spec__ if fresh else None
    if spec is None or spec.loader is None:
        return function
    copy = module_from_spec(spec)
    try:
        spec.loader.exec_module(copy)
        again: Callable[..., Any] = getattr(copy, function.__name__)
    except (Exception, SystemExit) as problem:
        found = f"{type(problem).__name__}: {problem}"
        raise RecipeError(f"module {spec.name!r} cannot be run a second time, for a fresh function: {found}") from None
    return again


def library_values(
    call: LibraryCall,
    panel: Panel,
    *,
    where: str,
    function_timeout: float | None = None,
    function: Callable[..., Any] | None = None,
    check: bool = True,
) -> tuple[Floats, int]:
    """Compute a library function on a panel.

    Parameters
    ----------
    call
        From the plan.
    panel
        Holds the function's fields; for one that compares symbols, all of them.
    where
        Beginning of every message.
    function_timeout
        Seconds for this panel; None: no limit. A function that hangs keeps its thread: end the process.
    function
        From `planned_function`; None: the one that is imported.
    check
        Call once more on fewer bars and compare (step 3); the caller may know better.

    Returns
    -------
    values, infinite
        float64 [T, S], finite or NaN, NaN outside listing episodes and where the function sees nothing; how many
        infinite values of the run's symbols became missing in output rows.

    Raises
    ------
    RecipeError
        The function raises, takes too long, returns the wrong thing, uses the future or more than its look-back.
    """
    seen, begin, columns = _seen(call, panel)
    own = np.empty(seen.shape)
    printed = _Printed()
    who = f"{where}: {call.source}"
    try:
        with redirect_stdout(printed):
            runner = _Runner(call, seen, where, function or planned_function(call))
            infinite = _limited(lambda: runner.run(own, check), function_timeout, who)
    finally:
        if printed.getvalue():
            LOGGER.info("%s printed: %s", who, printed.getvalue())
    if own.shape == panel.shape:
        return own, infinite
    out = np.full(panel.shape, np.nan)
    out[begin:, columns] = own
    return out, infinite


def _seen(call: LibraryCall, panel: Panel) -> tuple[Panel, int, NDArray[np.intp]]:
    """Return the part of the panel that is the function's business, its first row and its columns.

    One that compares symbols sees those of the run and those that it names itself, not what other factors name; where
    it states no look-back, from their first bar on.
    """
    everything = np.arange(len(panel.symbols))
    if not call.cross:
        return panel, 0, everything
    ours: NDArray[np.bool_] = panel.member.any(axis=0) | np.isin(panel.symbols, call.extra_symbols)
    columns = np.flatnonzero(ours)
    if len(columns) < len(everything):
        used = {name: values for name, values in panel.fields.items() if name in call.inputs}
        panel = replace(panel, fields=used).columns(tuple(panel.symbols[column] for column in columns))
    alive = (panel.age > 0).any(axis=1)
    begin = int(alive.argmax()) if call.lookback is None else 0
    return panel.rows(begin, panel.shape[0], warmup=max(0, panel.warmup - begin)) if begin else panel, begin, columns


class _Printed(io.StringIO):
    """Keeps the first PRINT_LIMIT characters."""

    def write(self, text: str) -> int:
        super().write(text[: max(0, PRINT_LIMIT - self.tell())])
        return len(text)


def _limited(work: Callable[[], Result], seconds: float | None, who: str) -> Result:
    """Return ``work()``, or raise RecipeError when it takes longer than `seconds`."""
    if seconds is None:
        return work()
    done: list[Result] = []
    failed: list[BaseException] = []

    def target() -> None:
        try:
            done.append(work())
        except BaseException as problem:
            failed.append(problem)

    thread = threading.Thread(target=target, name=who, daemon=True)  # a daemon does not keep the process alive
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise RecipeError(f"{who} took longer than function_timeout, {seconds:g} s; raise it, or look for a loop")
    return done[0]


def _raised(problem: BaseException) -> str:
    frames = traceback.extract_tb(problem.__traceback__)
    place = f" in line {frames[-1].lineno} of {frames[-1].filename}" if len(frames) > 1 else ""
    read_only = isinstance(problem, ValueError) and ("read-only" in str(problem) or "WRITEABLE" in str(problem))
    hint = "; its inputs are read-only: copy before writing" if read_only else ""
    return f"raised {type(problem).__name__}: {problem}{place}{hint}"


def _calls(call: LibraryCall, panel: Panel) -> Iterator[_Call]:
    """Yield the calls that fill a panel."""
    rows, columns = panel.shape
    if not call.cross:
        for column in range(columns):
            for begin, end in episodes(panel.age[:, column]):
                only = slice(column, column + 1)
                yield _Call(slice(begin, end), only, slice(begin, end), only)
        return
    everything = slice(0, rows), slice(0, columns)
    yield _Call(*everything, *everything)
    for column in range(columns):
        for begin, end in episodes(panel.age[:, column])[1:]:
            yield _Call(*everything, slice(begin, end), slice(column, column + 1), hidden=(column, begin))


def episodes(age: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Return (first row, end row) of the listing episodes in one symbol's age."""
    before = np.concatenate(([0], age[:-1]))
    first = (age > 0) & ((before == 0) | (age <= before))
    after = np.concatenate((age[1:], [0]))
    last = (age > 0) & ((after == 0) | (after <= age))
    return list(zip(np.flatnonzero(first).tolist(), (np.flatnonzero(last) + 1).tolist(), strict=True))


def _between(part: _Call, begin: int, end: int) -> _Call:
    rows = slice(part.rows.start + begin, part.rows.start + end)
    return _Call(rows, part.columns, rows, part.columns, part.hidden)


def _same(left: Floats, right: Floats, whole: Floats) -> bool:
    return not differs(left, right, whole).any()


def differs(left: Floats, right: Floats, whole: Floats) -> NDArray[np.bool_]:
    """Return where two results of a function differ by more than rounding, column by column on the scale of `whole`."""
    size = np.abs(np.where(np.isfinite(whole), whole, 0.0)).max(axis=0, initial=0.0)
    return ~np.isclose(left, right, rtol=RELATIVE, atol=ABSOLUTE * size, equal_nan=True)
