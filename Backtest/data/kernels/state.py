"""State and event operators: from the listing episode's first bar, a missing bar leaves the state as it is."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand
from .finish import blank_infinite

NEVER = -(2**62)
"""Row of what has not happened yet in the episode; row 0 is the first of this call, those of earlier ones are below."""
SUM, MAX, MIN, COUNT = range(4)
SINCE_CHANGE, HUMP = range(2)


@compiled
def cumulated(x, age, out, mode, carried):
    """Sum, largest, smallest or number of the episode's valid values so far. carried: their number, the statistic."""
    rows, columns = x.shape
    n, state = carried[0], carried[1]
    for t in range(rows):
        for b in range(columns):
            v, a = x[t, b], age[t, b]
            there = a > 0 and v == v
            if a <= 1:
                n[b] = 0.0
            if there:
                if n[b] == 0.0:
                    state[b] = v
                elif mode == SUM:
                    state[b] += v
                elif (mode == MAX and v > state[b]) or (mode == MIN and v < state[b]):
                    state[b] = v
                n[b] += 1.0
            if mode == COUNT:
                out[t, b] = n[b] if a > 0 else np.nan
            else:
                out[t, b] = state[b] if there else np.nan


@compiled
def bars_since_true(c, age, out, carried):
    """Bars since c was last true. carried: bars from then to the next call's row 0, 0 for never."""
    rows, columns = c.shape
    last = np.empty(columns, np.int64)
    for b in range(columns):
        last[b] = -int(carried[0, b]) if carried[0, b] > 0.0 else NEVER
    for t in range(rows):
        for b in range(columns):
            a = age[t, b]
            if a <= 1:
                last[b] = NEVER
            if a > 0 and c[t, b] == 1.0:
                last[b] = t
            out[t, b] = t - last[b] if a > 0 and c[t, b] == c[t, b] and last[b] > NEVER else np.nan
    for b in range(columns):
        carried[0, b] = float(rows - last[b]) if last[b] > NEVER else 0.0


@compiled
def held_values(c, x, leave, age, out, carried):
    """x at the last bar where c was true and `leave` was not; missing from a true `leave` on.

    carried: is a value held, the value.
    """
    rows, columns = x.shape
    held = carried[1].copy()
    for b in range(columns):
        held[b] = held[b] if carried[0, b] > 0.0 else np.nan
    for t in range(rows):
        for b in range(columns):
            a, enter, end = age[t, b], c[t, b], leave[t, b]
            if a <= 1:
                held[b] = np.nan
            there = a > 0 and enter == enter and end == end
            if there and end == 1.0:
                held[b] = np.nan
            elif there and enter == 1.0:
                held[b] = x[t, b]
            out[t, b] = held[b] if there else np.nan
    carried[0] = held == held
    carried[1] = held


@compiled
def changes(x, age, out, mode, limit, carried):
    """Bars since x took another value, or x followed in steps of at most `limit`.

    carried: has there been a value, the present one, bars from its first row to the next call's row 0.
    """
    rows, columns = x.shape
    seen, state, since = carried[0] > 0.0, carried[1], np.empty(columns, np.int64)
    for b in range(columns):
        since[b] = -int(carried[2, b])
    for t in range(rows):
        for b in range(columns):
            v, a = x[t, b], age[t, b]
            if a <= 1:
                seen[b] = False
            r = np.nan
            if a > 0 and v == v:
                step = v - state[b]
                if not seen[b] or (mode == SINCE_CHANGE and step != 0.0):
                    state[b], since[b] = v, t
                elif mode == HUMP and abs(step) > limit:
                    state[b] += math.copysign(limit, step)
                seen[b] = True
                r = state[b] if mode == HUMP else float(t - since[b])
            out[t, b] = r
    for b in range(columns):
        carried[0, b], carried[2, b] = 1.0 if seen[b] else 0.0, float(rows - since[b])


@compiled
def crossings(x, step_x, y, step_y, age, out, sign):
    """1 where sign (x - y) is positive now and was not one bar ago; flat operands, a number has step 0."""
    rows, columns = age.shape
    for t in range(rows):
        for b in range(columns):
            i = t * columns + b
            r = np.nan
            if t > 0 and age[t, b] > 1:
                v, w = x[i * step_x], y[i * step_y]
                old_v, old_w = x[(i - columns) * step_x], y[(i - columns) * step_y]
                if v == v and w == w and old_v == old_v and old_w == old_w:
                    r = 1.0 if sign * v > sign * w and sign * old_v <= sign * old_w else 0.0
            out[t, b] = r


def _cumulated(mode: int, operands: Sequence[Operand], context: Context, out: Floats) -> int:
    cumulated(operands[0], context.age, out, mode, context.state(2))
    return blank_infinite(out, context)


def cum_sum(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Sum so far."""
    return _cumulated(SUM, operands, context, out)


def cum_max(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Largest value so far."""
    return _cumulated(MAX, operands, context, out)


def cum_min(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Smallest value so far."""
    return _cumulated(MIN, operands, context, out)


def cum_count(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Number of valid values so far."""
    return _cumulated(COUNT, operands, context, out)


def bars_since(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Bars since the mask was last true."""
    bars_since_true(operands[0], context.age, out, context.state(1))
    return 0


def value_when(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """x at the last bar where the mask was true."""
    held_values(operands[0], operands[1], np.zeros_like(out), context.age, out, context.state(2))
    return 0


def trade_when(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """x taken at a trigger and held until the exit."""
    held_values(*operands, context.age, out, context.state(2))
    return 0


def days_from_last_change(
    operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats
) -> int:
    """Bars since x took another value."""
    changes(operands[0], context.age, out, SINCE_CHANGE, 0.0, context.state(3))
    return 0


def hump(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """x followed in steps of at most the limit, and not at all within it."""
    changes(operands[0], context.age, out, HUMP, float(literals["limit"]), context.state(3))
    return 0


def _crossings(sign: float, operands: Sequence[Operand], context: Context, out: Floats) -> int:
    flat = [(value.reshape(-1), 1) if isinstance(value, np.ndarray) else (np.array([value]), 0) for value in operands]
    crossings(*flat[0], *flat[1], context.age, out, sign)
    return 0


def cross_up(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """True where x rises above y."""
    return _crossings(1.0, operands, context, out)


def cross_down(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """True where x falls below y."""
    return _crossings(-1.0, operands, context, out)
