"""Covariance, correlation and least squares of y on x over a window: what `pairsums` leaves, row by row."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand, window_of
from .finish import blank
from .pairsums import (
    ABOUT,
    BASE,
    FAR,
    NUMBER,
    OUT_XX,
    OUT_YX,
    OUT_YY,
    PLANES,
    N,
    add_row,
    add_row_mixed,
    centre_row,
    set_shifts,
    start_prefix,
    suffixes,
    suffixes_mixed,
)
from .rows import FLAT, MIXED, WIDTH, blank_idle, descending, full_counts, is_plain, next_state, over_columns

COVARIANCE, CORRELATION, BETA, R2, SE_BETA, ALPHA, RESIDUAL, FITTED = range(8)
OUTPUTS = {"resid": RESIDUAL, "alpha": ALPHA, "beta": BETA, "fitted": FITTED, "r2": R2, "se_beta": SE_BETA}
CLOSE_FIT = 1e-6
"""Where less than this share of y's squares is left over, the difference of the sums has lost too many digits for a
root: the residuals are squared one by one."""
LOW, HIGH = 1e-280, 1e280
"""Where the product of two sums of squares is beyond these, it may have left the range of float64."""


@compiled(_nrt=False)
def _is_flat(squares, base, n):
    """A window whose sum of squares about the mean is rounding; never for n = NaN."""
    return squares <= (FLAT * base) * (FLAT * base) * (n - 1.0)


@compiled(_nrt=False)
def _correlations(p, r):
    beyond = 0
    for b in range(r.size):
        yy, xx, n = p[b + OUT_YY], p[b + OUT_XX], p[b + NUMBER]
        product = yy * xx
        value = p[b + OUT_YX] / math.sqrt(product)
        value = -1.0 if value < -1.0 else (1.0 if value > 1.0 else value)
        flat = _is_flat(yy, p[b + BASE], n) | _is_flat(xx, p[b + BASE + WIDTH], n)
        beyond += 0 if flat | ((product > LOW) & (product < HIGH)) else 1
        r[b] = np.nan if flat else value
    if beyond > 0:
        for b in range(r.size):
            yy, xx, n = p[b + OUT_YY], p[b + OUT_XX], p[b + NUMBER]
            flat = _is_flat(yy, p[b + BASE], n) or _is_flat(xx, p[b + BASE + WIDTH], n)
            if not (flat or (yy * xx > LOW and yy * xx < HIGH)):
                value = p[b + OUT_YX] / (math.sqrt(yy) * math.sqrt(xx))
                r[b] = min(max(value, -1.0), 1.0) if yy < np.inf and xx < np.inf else np.inf


@compiled(_nrt=False)
def _covariances(p, r, ddof):
    for b in range(r.size):
        n = p[b + NUMBER]
        flat = _is_flat(p[b + OUT_YY], p[b + BASE], n) | _is_flat(p[b + OUT_XX], p[b + BASE + WIDTH], n)
        value = p[b + OUT_YX] * (1.0 / (n - ddof))
        value = value if value == value else np.inf  # inf - inf: a product overflowed
        r[b] = np.nan if flat else value


@compiled(_nrt=False)
def _slopes(p, r, mode):
    for b in range(r.size):
        beta = p[b + OUT_YX] / p[b + OUT_XX]
        beta = beta if (p[b + OUT_XX] < np.inf) & (beta == beta) else np.inf
        r[b] = np.nan if _is_flat(p[b + OUT_XX], p[b + BASE + WIDTH], p[b + NUMBER]) else beta
    if mode == R2:
        for b in range(r.size):
            value = r[b] * (p[b + OUT_YX] / p[b + OUT_YY])
            value = 1.0 if (value > 1.0) & (value < np.inf) else value
            value = value if p[b + OUT_YY] < np.inf else np.inf
            r[b] = np.nan if _is_flat(p[b + OUT_YY], p[b + BASE], p[b + NUMBER]) else value


@compiled(_nrt=False)
def _lines(p, r, v, w, mode):
    """Turn the slopes in r into intercepts, residuals or fitted values of the row (v, w)."""
    for b in range(r.size):
        rise = r[b] * ((w[b] - p[b + BASE + WIDTH]) - p[b + ABOUT + WIDTH])
        above = (v[b] - p[b + BASE]) - p[b + ABOUT]
        alpha = (p[b + BASE] + p[b + ABOUT]) - r[b] * (p[b + BASE + WIDTH] + p[b + ABOUT + WIDTH])
        fitted = (p[b + BASE] + (p[b + ABOUT] + rise)) if v[b] == v[b] else np.nan
        r[b] = alpha if mode == ALPHA else (above - rise if mode == RESIDUAL else fitted)


@compiled(_nrt=False)
def _left_over(y, x, age, t, b, d, p, beta):
    """Return the sum of squared residuals, row by row."""
    total = 0.0
    for row in range(max(t - min(d, age[t, b]) + 1, 0), t + 1):
        v, w = y[row, b], x[row, b]
        if v == v and w == w:
            rise = beta * ((w - p[b + BASE + WIDTH]) - p[b + ABOUT + WIDTH])
            u = ((v - p[b + BASE]) - p[b + ABOUT]) - rise
            total += u * u
    return total


@compiled(_nrt=False)
def _errors(y, x, age, t, d, p, r):
    """Turn the slopes in r into their standard errors."""
    for b in range(r.size):
        beta, n = r[b], p[b + NUMBER]
        if beta == beta and n > 2.0:
            rest = p[b + OUT_YY] - beta * p[b + OUT_YX]
            if rest < CLOSE_FIT * p[b + OUT_YY]:
                rest = _left_over(y, x, age, t, b, d, p, beta)
            error = math.sqrt(rest / (n - 2.0)) / math.sqrt(p[b + OUT_XX])
            r[b] = error if error == error else np.inf  # inf - inf: a square overflowed
        else:
            r[b] = np.nan


@compiled(_nrt=False)
def _finish(y, x, age, out, t, d, mode, ddof, p):
    """Write the statistic of the windows that end at row t."""
    r = out[t]
    if mode == CORRELATION:
        _correlations(p, r)
    elif mode == COVARIANCE:
        _covariances(p, r, ddof)
    else:
        _slopes(p, r, mode)
        if mode == SE_BETA:
            _errors(y, x, age, t, d, p, r)
        elif mode > SE_BETA:
            _lines(p, r, y[t], x[t], mode)


@compiled(_nrt=False)
def _plain(y, x, age, out, first, last, have, d, mode, ddof, s, p):
    """Statistics of a block of which nothing is missing."""
    start_prefix(p, y[first], x[first], float(d))
    for t in range(first, last):
        q, nb = s[max(t - d + 1, 0) - (first - have)], float(t - first + 1)
        add_row(y[t], x[t], q, p, d - nb, nb)
        if mode >= SE_BETA:
            centre_row(q, p, d - nb, nb, x.shape[1])
        _finish(y, x, age, out, t, d, mode, ddof, p)
        if t < d - 1:
            out[t] = np.nan


@compiled(_nrt=False)
def _mixed(y, x, age, out, first, last, have, d, mode, ddof, least, min_age, s, p):
    """The same for any block."""
    for t in range(first, last):
        q = s[max(t - d + 1, 0) - (first - have)]
        add_row_mixed(y[t], x[t], age[t], q, p, t, first, d, least, min_age)
        _finish(y, x, age, out, t, d, mode, ddof, p)
        r = out[t]
        for b in range(r.size):
            r[b] = r[b] if p[b + NUMBER] == p[b + NUMBER] else np.nan


@compiled
def pairs(y, x, age, out, d, min_valid, min_age, phase, mode, ddof, own_row):
    """One statistic of y and x of each window, over rows where both are valid; return as `deviation.moments`."""
    rows, columns = x.shape
    down = descending(min(d, rows))
    s, p = np.zeros((min(d, rows) + 1, 6 * WIDTH)), np.zeros(PLANES * WIDTH)
    gaps, idle = np.empty(columns), np.empty(columns)
    least = max(min_valid, 2, ddof + 1)
    have, before, now, known = 0, MIXED, MIXED, 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        if last > known:
            of_y, known_y = next_state(y, age, first, last, d, gaps, idle)
            of_x, known_x = next_state(x, age, first, last, d, gaps, idle)
            now, known = min(of_y, of_x), min(known_y, known_x)
        p[: N + WIDTH] = 0.0
        if is_plain(now, before, first, have, d):
            _plain(y, x, age, out, first, last, have, d, mode, ddof, s, p)
            blank_idle(out[first:last], idle)
        else:
            if before != MIXED:
                full_counts(s, have, columns, N // WIDTH)
            _mixed(y, x, age, out, first, last, have, d, mode, ddof, least, min_age, s, p)
        have, before = last - first, now
        s[have] = 0.0
        if now == MIXED:
            suffixes_mixed(y[first:last], x[first:last], age[first:last], s, down[-have:], p, idle)
        else:
            set_shifts(p, FAR, y[last - 1], x[last - 1])
            suffixes(y[first:last], x[first:last], s, down[-have:], p)
    return blank(out.reshape(-1), own_row * columns)


def _pairs(mode: int, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    ddof = int(literals.get("ddof", 1))
    numbers = (w.bars, w.min_valid, w.min_age, w.phase, mode, ddof, context.own_row)
    return over_columns(pairs, operands, context, out, *numbers)


def ts_cov(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Covariance over pairwise-valid rows."""
    return _pairs(COVARIANCE, operands, literals, context, out)


def ts_corr(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Pearson correlation over pairwise-valid rows."""
    return _pairs(CORRELATION, operands, literals, context, out)


def ts_beta(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Slope of y on x."""
    return _pairs(BETA, operands, literals, context, out)


def ts_regression(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """One output of the regression of y on x."""
    return _pairs(OUTPUTS[literals["out"]], operands, literals, context, out)
