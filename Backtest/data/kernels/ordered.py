"""A sorted array of valid values: what enters, what leaves, and its quantiles.

A value enters and leaves by binary search and one move of memory, which beats cleverer structures up to windows of
thousands. The sorted multiset does not depend on how it came about, so the bits do not either; -0.0 is stored as 0.0
because the two sort equal and only their history would decide which one is read.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from ...machine_code import compiled

COUNTED = 32
"""So many sorted values are compared one and all: that has no branch to guess wrong, as a binary search does at every
second step."""


@compiled(_nrt=False)
def below(held, n, v):
    """Return how many of the first n values are < v: by halves down to a few cache lines, which are counted."""
    low = 0
    while n > COUNTED:
        half = n >> 1
        low += half if held[low + half - 1] < v else 0
        n -= half
    part = held[low : low + n]
    count = 0
    for i in range(part.size):
        count += part[i] < v
    return low + count


@compiled(_nrt=False)
def up_to(held, n, v):
    """Return how many of the first n values are <= v (NumPy's searchsorted brings SciPy into machine code)."""
    low = 0
    while n > COUNTED:
        half = n >> 1
        low += half if held[low + half - 1] <= v else 0
        n -= half
    part = held[low : low + n]
    count = 0
    for i in range(part.size):
        count += part[i] <= v
    return low + count


@compiled(_nrt=False)
def insert(held, n, v):
    """Put v into the first n sorted values; return n + 1."""
    at = below(held, n, v)
    for i in range(n, at, -1):
        held[i] = held[i - 1]
    held[at] = v
    return n + 1


@compiled(_nrt=False)
def remove(held, n, v):
    """Take one v out of the first n sorted values; return n - 1."""
    for i in range(below(held, n, v), n - 1):
        held[i] = held[i + 1]
    return n - 1


@compiled(_nrt=False)
def replace(held, n, old, new):
    """Put `new` in the place of one `old` among the first n sorted values: only what lies between them moves."""
    at, to = below(held, n, old), below(held, n, new)
    if new > old:
        to -= 1
        into, out = held[at:to], held[at + 1 : to + 1]
        for i in range(into.size):
            into[i] = out[i]
    else:
        into, out = held[to + 1 : at + 1], held[to:at]
        for i in range(into.size - 1, -1, -1):
            into[i] = out[i]
    held[to] = new


@compiled
def quantile(held, n, q):
    """Return the value at position q (n - 1), linear between neighbours."""
    position = q * (n - 1)
    i = min(int(position), n - 1)
    part = position - i
    return held[i] if part == 0.0 else held[i] + part * (held[i + 1] - held[i])
