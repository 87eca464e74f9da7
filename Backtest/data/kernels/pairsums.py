"""Sums of two operands over a window, merged about their means: `rolling`'s blocks over rows where both are valid.

The steps of one row for `pair`: the running sums of a block, their merge with a suffix of the block before, and the
suffixes. Everything that belongs to a symbol lies in one array, plane after plane (see `rows`).
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from ...machine_code import compiled
from .rows import NO_LIMIT, WIDTH

Y, X, YY, XX, YX, N = (plane * WIDTH for plane in range(6))
"""Sums of u, z, u^2, z^2, u z, 1, where u and z are the distances of y and x from their shifts."""
OUT_YY, OUT_XX, OUT_YX, NUMBER = (plane * WIDTH for plane in range(6, 10))
"""The merged window: sums of squares and of products about the means; number of rows, NaN where it has no value."""
BASE, ABOUT, SHIFT, FAR, GAP = (plane * WIDTH for plane in range(10, 20, 2))
"""y, then x: a value inside the window, and how far the mean lies from it; the shifts of prefix and suffix; what the
suffix's shift lies above the prefix's."""
PLANES = 20


@compiled(_nrt=False)
def add_row(v, w, q, p, na, nb):
    """Plain block: add row (v, w) to the running sums of p and merge them with the suffix q."""
    per_a, per_b, both = 1.0 / max(na, 1.0), 1.0 / nb, na / (na + nb) * nb
    linked = na > 0.0
    for b in range(v.size):
        u, z = v[b] - p[b + SHIFT], w[b] - p[b + SHIFT + WIDTH]
        b1, b2 = p[b + Y] + u, p[b + X] + z
        b11, b22, b12 = p[b + YY] + u * u, p[b + XX] + z * z, p[b + YX] + u * z
        p[b + Y], p[b + X], p[b + YY], p[b + XX], p[b + YX] = b1, b2, b11, b22, b12
        a1, a2 = q[b + Y], q[b + X]
        mean_a1, mean_a2, mean_b1, mean_b2 = a1 * per_a, a2 * per_a, b1 * per_b, b2 * per_b
        apart_y = (p[b + GAP] if linked else 0.0) + (mean_a1 - mean_b1)
        apart_x = (p[b + GAP + WIDTH] if linked else 0.0) + (mean_a2 - mean_b2)
        yy = (q[b + YY] - a1 * mean_a1) + (b11 - b1 * mean_b1) + apart_y * apart_y * both
        xx = (q[b + XX] - a2 * mean_a2) + (b22 - b2 * mean_b2) + apart_x * apart_x * both
        p[b + OUT_YX] = (q[b + YX] - a1 * mean_a2) + (b12 - b1 * mean_b2) + apart_y * apart_x * both
        p[b + OUT_YY], p[b + OUT_XX] = 0.0 if yy < 0.0 else yy, 0.0 if xx < 0.0 else xx


@compiled(_nrt=False)
def centre_row(q, p, na, nb, columns):
    """Plain block: find the means of the window that `add_row` has merged."""
    per_a, per_b, part = 1.0 / max(na, 1.0), 1.0 / nb, na / (na + nb)
    linked = na > 0.0
    for plane in (0, WIDTH):
        about, gap, old, new = p[ABOUT + plane :], p[GAP + plane :], q[Y + plane :], p[Y + plane :]
        for b in range(columns):
            mean_b = new[b] * per_b
            about[b] = mean_b + ((gap[b] if linked else 0.0) + (old[b] * per_a - mean_b)) * part


@compiled(_nrt=False)
def add_row_mixed(v, w, a, q, p, t, first, d, least, min_age):
    """Any block: the same with the means and the numbers; row t, whose block begins at row `first`."""
    oldest = t + 1 if t < d - 1 else NO_LIMIT
    for b in range(v.size):
        ok, keep = (v[b] == v[b]) & (w[b] == w[b]) & (a[b] > 0), a[b] != 1
        nb = p[b + N] if keep else 0.0
        shift_y, shift_x = p[b + SHIFT], p[b + SHIFT + WIDTH]
        shift_y, shift_x = v[b] if ok & (nb == 0.0) else shift_y, w[b] if ok & (nb == 0.0) else shift_x
        p[b + SHIFT], p[b + SHIFT + WIDTH] = shift_y, shift_x
        u, z = v[b] - shift_y if ok else 0.0, w[b] - shift_x if ok else 0.0
        nb += 1.0 if ok else 0.0
        b1, b2 = (p[b + Y] if keep else 0.0) + u, (p[b + X] if keep else 0.0) + z
        b11, b22 = (p[b + YY] if keep else 0.0) + u * u, (p[b + XX] if keep else 0.0) + z * z
        b12 = (p[b + YX] if keep else 0.0) + u * z
        p[b + N], p[b + Y], p[b + X], p[b + YY], p[b + XX], p[b + YX] = nb, b1, b2, b11, b22, b12
        na = q[b + N] if a[b] > t - first + 1 else 0.0
        some = na > 0.0
        a1, a2 = q[b + Y] if some else 0.0, q[b + X] if some else 0.0
        a11, a22, a12 = q[b + YY] if some else 0.0, q[b + XX] if some else 0.0, q[b + YX] if some else 0.0
        n = na + nb
        per_a, per_b, part = 1.0 / max(na, 1.0), 1.0 / max(nb, 1.0), na / n
        both = part * nb
        mean_a1, mean_a2, mean_b1, mean_b2 = a1 * per_a, a2 * per_a, b1 * per_b, b2 * per_b
        far_y, far_x, near = p[b + FAR], p[b + FAR + WIDTH], nb > 0.0
        p[b + BASE], p[b + BASE + WIDTH] = shift_y if near else far_y, shift_x if near else far_x
        gap_y, gap_x = far_y - shift_y if some & near else 0.0, far_x - shift_x if some & near else 0.0
        apart_y, apart_x = gap_y + (mean_a1 - mean_b1), gap_x + (mean_a2 - mean_b2)
        yy = (a11 - a1 * mean_a1) + (b11 - b1 * mean_b1) + apart_y * apart_y * both
        xx = (a22 - a2 * mean_a2) + (b22 - b2 * mean_b2) + apart_x * apart_x * both
        p[b + OUT_YX] = (a12 - a1 * mean_a2) + (b12 - b1 * mean_b2) + apart_y * apart_x * both
        p[b + OUT_YY], p[b + OUT_XX] = 0.0 if yy < 0.0 else yy, 0.0 if xx < 0.0 else xx
        p[b + ABOUT], p[b + ABOUT + WIDTH] = mean_b1 + apart_y * part, mean_b2 + apart_x * part
        enough = (a[b] >= min_age) & (a[b] <= oldest) & (n >= least)
        p[b + NUMBER] = n if enough else np.nan


@compiled(_nrt=False)
def suffixes(y, x, s, down, p):
    """Plain block: leave in s[i] the sums over rows i.. of the block; the row past the end is 0."""
    for k in range(x.shape[0]):
        i = down[k]
        v, w, q, r = y[i], x[i], s[i + 1], s[i]
        for b in range(v.size):
            u, z = v[b] - p[b + FAR], w[b] - p[b + FAR + WIDTH]
            r[b + Y], r[b + X] = q[b + Y] + u, q[b + X] + z
            r[b + YY], r[b + XX], r[b + YX] = q[b + YY] + u * u, q[b + XX] + z * z, q[b + YX] + u * z


@compiled(_nrt=False)
def suffixes_mixed(y, x, age, s, down, p, alive):
    """Any block: the same with the numbers; sets the suffix's shifts to the last valid pair."""
    alive[:] = 1.0
    for k in range(x.shape[0]):
        i = down[k]
        v, w, a, q, r = y[i], x[i], age[i], s[i + 1], s[i]
        for b in range(v.size):
            ok = (v[b] == v[b]) & (w[b] == w[b]) & (a[b] > 0) & (alive[b] > 0.0)
            p[b + FAR] = v[b] if ok & (q[b + N] == 0.0) else p[b + FAR]
            p[b + FAR + WIDTH] = w[b] if ok & (q[b + N] == 0.0) else p[b + FAR + WIDTH]
            u, z = v[b] - p[b + FAR] if ok else 0.0, w[b] - p[b + FAR + WIDTH] if ok else 0.0
            r[b + N] = q[b + N] + (1.0 if ok else 0.0)
            r[b + Y], r[b + X] = q[b + Y] + u, q[b + X] + z
            r[b + YY], r[b + XX], r[b + YX] = q[b + YY] + u * u, q[b + XX] + z * z, q[b + YX] + u * z
            alive[b] = alive[b] if a[b] > 1 else 0.0


@compiled(_nrt=False)
def set_shifts(p, plane, v, w):
    """Make (v, w) the shifts at `plane`."""
    for b in range(v.size):
        p[plane + b], p[plane + WIDTH + b] = v[b], w[b]


@compiled(_nrt=False)
def start_prefix(p, v, w, d):
    """Begin a plain block with the row (v, w)."""
    set_shifts(p, SHIFT, v, w)
    for k in range(2 * WIDTH):
        p[GAP + k], p[BASE + k] = p[FAR + k] - p[SHIFT + k], p[SHIFT + k]
    p[NUMBER : NUMBER + WIDTH] = d
