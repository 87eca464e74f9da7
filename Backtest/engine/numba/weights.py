"""The strategies' weights, compiled: the twin of strategies/portfolio.py, in the same arithmetic order."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from ...machine_code import compiled

EQUAL, SCORE, RANK, INVERSE_VOL = range(4)
WEIGHTINGS = ("equal", "score", "rank", "inverse_vol")
BLOCK = 128
"""NumPy adds up to this many numbers in eight lanes, and halves what is longer."""


@compiled
def block_sum(values, begin, n):
    """Return the sum of up to BLOCK values from `begin` on, in numpy's sequence."""
    if n < 8:
        total = 0.0
        for i in range(begin, begin + n):
            total += values[i]
        return total
    a, b, c, d = values[begin], values[begin + 1], values[begin + 2], values[begin + 3]
    e, f, g, h = values[begin + 4], values[begin + 5], values[begin + 6], values[begin + 7]
    whole = n - n % 8
    for i in range(begin + 8, begin + whole, 8):
        a += values[i]
        b += values[i + 1]
        c += values[i + 2]
        d += values[i + 3]
        e += values[i + 4]
        f += values[i + 5]
        g += values[i + 6]
        h += values[i + 7]
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(begin + whole, begin + n):
        total += values[i]
    return total


@compiled
def left_half(n):
    """Return the length of the left half of a stretch: a multiple of eight."""
    half = n // 2
    return half - half % 8


@compiled(_nrt=True)  # it allocates, whoever compiles it first
def pairwise_sum(values, begin, n):
    """Return the sum of n values from `begin` on, with the roundings of numpy's sum of up to 8,192 numbers in a row.

    numpy halves what is longer than BLOCK by recursion. Compiled recursion crashes when it is loaded from numba's disk
    cache, so the stretches that are not yet summed stand on a stack, each with its left half's sum once that is known.
    """
    if n <= BLOCK:
        return block_sum(values, begin, n)
    starts, lengths = np.empty(64, np.int64), np.empty(64, np.int64)
    lefts, known = np.empty(64), np.empty(64, np.bool_)
    starts[0], lengths[0] = begin, n
    depth = 0
    while True:
        while lengths[depth] > BLOCK:
            starts[depth + 1], lengths[depth + 1] = starts[depth], left_half(lengths[depth])
            known[depth] = False
            depth += 1
        total = block_sum(values, starts[depth], lengths[depth])
        while depth > 0 and known[depth - 1]:
            depth -= 1
            total = lefts[depth] + total
        if depth == 0:
            return total
        lefts[depth - 1], known[depth - 1] = total, True
        half = left_half(lengths[depth - 1])
        starts[depth], lengths[depth] = starts[depth - 1] + half, lengths[depth - 1] - half


@compiled
def capped(shares, begin, n, budget, max_weight, poured, free, space):
    """Pour `budget` over n shares from `begin` on, none above `max_weight`, into poured[:n]."""
    left_free = 0
    for i in range(n):
        poured[i] = 0.0
        free[i] = shares[begin + i] > 0
        left_free += free[i]
    left = budget
    while left_free > 0 and left > 0:
        m = 0
        for i in range(n):
            if free[i]:
                space[m] = shares[begin + i]
                m += 1
        total = pairwise_sum(space, 0, m)
        over = 0
        for i in range(n):
            if free[i]:
                poured[i] = left * shares[begin + i] / total
                over += poured[i] > max_weight
        if over == 0:
            break
        full = 0
        for i in range(n):
            if free[i] and poured[i] > max_weight:
                poured[i] = max_weight
                free[i] = False
                left_free -= 1
            elif free[i]:
                poured[i] = 0.0
            full += poured[i] != 0
        left = budget - max_weight * full


@compiled
def pour(starts, shares, budgets, max_weight, poured):
    """Write the signed weights of all legs into `poured` [N], as they are while no position is locked."""
    widest = 0
    for r in range(len(starts)):
        widest = max(widest, starts[r, 1] - starts[r, 0], starts[r, 2] - starts[r, 1])
    leg, free, space = np.empty(widest), np.empty(widest, np.bool_), np.empty(widest)
    for r in range(len(starts)):
        for side in range(2):
            begin, n = starts[r, side], starts[r, side + 1] - starts[r, side]
            if n > 0:
                capped(shares, begin, n, budgets[side], max_weight, leg, free, space)
                for i in range(n):
                    poured[begin + i] = (1 - 2 * side) * leg[i]


@compiled
def shares_of(values, volatility, following, known, weighting, out):
    """Write shares of sum 1 for `values`, best first. `following`: the next value, where `known`."""
    n = len(values)
    if weighting == SCORE and not known:
        weighting = RANK
    if weighting == SCORE:
        widest = -np.inf
        for i in range(n):
            out[i] = values[i] / 2 - following / 2
            widest = max(widest, out[i])
        if widest == 0:
            weighting = EQUAL
        else:
            for i in range(n):
                out[i] /= widest
    elif weighting == RANK:
        for i in range(n):
            out[i] = n - i
    elif weighting == INVERSE_VOL:
        smallest = np.inf
        for i in range(n):
            smallest = min(smallest, volatility[i])
        for i in range(n):
            out[i] = smallest / volatility[i]
    if weighting == EQUAL:
        out[:n] = 1.0 / n
        return
    total = pairwise_sum(out, 0, n)
    for i in range(n):
        out[i] /= total


@compiled
def best_first(keys, n, k, places, sorted_keys):
    """Write the places of the k lowest of n keys, lowest first, ties in the sequence they stand in; return k or n."""
    filled, room = 0, min(n, k)
    for i in range(n):
        key = keys[i]
        if filled < room:
            filled += 1
        elif key >= sorted_keys[room - 1]:
            continue
        place = filled - 1
        while place > 0 and sorted_keys[place - 1] > key:
            sorted_keys[place], places[place] = sorted_keys[place - 1], places[place - 1]
            place -= 1
        sorted_keys[place], places[place] = key, i
    return room


@compiled
def ranked_rows(scores, choosable, depth, both, ascending):
    """Return (order uint32 [R, sides, depth], found int64 [R]): the best columns of each row, and how many there are.

    Side 0 begins at the better end, side 1 (where `both`) at the other, of one ranking: side 1 has equal scores in the
    opposite sequence. scores, choosable: [R, S].
    """
    rows, width = scores.shape
    sides = 2 if both else 1
    order, found = np.zeros((rows, sides, depth), np.uint32), np.zeros(rows, np.int64)
    columns, key = np.empty(width, np.uint32), np.empty(width)
    places, ranked = np.empty(max(width, depth), np.int64), np.empty(max(width, depth))
    for r in range(rows):
        n = 0
        for c in range(width):
            columns[n] = c
            n += choosable[r, c]
        found[r] = n
        for side in range(sides):
            turned = ascending != (side == 1)
            if side == 1:
                columns[:n] = columns[:n][::-1].copy()
            for i in range(n):
                v = scores[r, columns[i]]
                key[i] = v if turned else -v
            for i in range(best_first(key, n, depth, places, ranked)):
                order[r, side, i] = columns[places[i]]
    return order, found


@compiled
def shared_legs(order, found, scores, volatility, counts, ascending, weighting):
    """Return (starts [R, 3], columns [N], shares [N]) of legs of `counts` [R] columns; see `layout.Plan`.

    order, found: as `ranked_rows` gives them, one deeper than any leg. volatility: [R, S], read for inverse_vol only.
    """
    rows, sides, depth = order.shape
    starts = np.zeros((rows, 3), np.int64)
    room = 0
    for r in range(rows):
        room += min(counts[r], found[r]) * sides
    columns, shares = np.empty(room, np.uint32), np.empty(room)
    values, risks, part = np.empty(depth), np.empty(depth), np.empty(depth)
    used = 0
    for r in range(rows):
        starts[r, 0] = used
        k = min(counts[r], found[r])
        for side in range(sides):
            turned = ascending != (side == 1)
            for i in range(k):
                c = order[r, side, i]
                columns[used + i] = c
                values[i] = -scores[r, c] if turned else scores[r, c]
                risks[i] = volatility[r, c] if weighting == INVERSE_VOL else 0.0
            if k > 0:
                more, following = found[r] > k, 0.0
                if more:
                    v = scores[r, order[r, side, k]]
                    following = -v if turned else v
                shares_of(values[:k], risks, following, more, weighting, part)
                shares[used : used + k] = part[:k]
            used += k
            starts[r, 1 + side] = used
        if sides == 1:
            starts[r, 2] = used
    return starts, columns, shares


@compiled
def ranked_legs(scores, choosable, volatility, counts, both, ascending, weighting):
    """Return what `shared_legs` does of rows that are ranked for it alone."""
    depth = 1
    for r in range(len(counts)):
        depth = max(depth, counts[r] + 1)
    order, found = ranked_rows(scores, choosable, depth, both, ascending)
    return shared_legs(order, found, scores, volatility, counts, ascending, weighting)
