"""Bars side by side: the network sorts any number of names, the true values decide, every lane for itself."""

from __future__ import annotations

import numpy as np
import pytest
from factor_evaluation.measures.blocks import BLOCK, LINE, SIDE, aligned, gather, turn, turn_back
from factor_evaluation.measures.orderkeys import column_mask, make_keys, place_products, settle, settle_row, sort

NAN = np.nan


def sorted_block(values):
    """Return a block's sorted keys' places, how many names each bar has, which have ties, and which a row decided."""
    keys, mask = aligned(values.shape, np.int32), column_mask(len(values))
    count, ties = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.bool_)
    make_keys(values, mask, keys.view(np.float32), keys, count)
    sort(keys)
    settle(keys, values, count, mask, ties)
    unsettled = ties.copy()
    for j in np.flatnonzero(unsettled):
        order, held = keys[:, j].copy(), np.empty(len(values))
        ties[j] = settle_row(order, values[:, j].copy(), count[j], mask, held)
        np.testing.assert_array_equal(held[: count[j]], np.sort(held[: count[j]]))
        keys[:, j] = order
    return keys & mask, count, ties, unsettled


@pytest.mark.parametrize("names", [*range(1, 70), 127, 128, 129, 300, 1_501])
def test_the_network_sorts(names):
    keys = np.random.default_rng(names).integers(-(2**31), 2**31, (names, BLOCK), dtype=np.int32)
    expected = np.sort(keys, axis=0)
    sort(keys)
    np.testing.assert_array_equal(keys, expected)


@pytest.mark.parametrize("scale, shift", [(1.0, 0.0), (1e-12, 1.0), (1e-300, 0.0), (1e300, 0.0), (0.0, 3.0)])
def test_every_bar_is_in_the_order_of_its_true_values(scale, shift):
    """float32 and the bits given up tell few of them apart; names of one value stay in their order."""
    draw = np.random.default_rng(1)
    values = shift + scale * draw.standard_normal((90, BLOCK))
    values[:, ::3] = values[draw.integers(0, 90, 90)][:, ::3]
    values[draw.random(values.shape) < 0.2] = NAN
    values[:2, 5], values[2, 5] = (np.inf, -np.inf), -0.0
    values[:, 7] = NAN
    was = np.where(np.isfinite(values), values, NAN)
    places, count, ties, unsettled = sorted_block(values)
    np.testing.assert_array_equal(count, np.isfinite(was).sum(axis=0))
    np.testing.assert_array_equal(values, np.nan_to_num(was))
    for j in range(BLOCK):
        order = np.argsort(was[:, j], kind="stable")[: count[j]]
        assert places[: count[j], j].tolist() == order.tolist()
        assert not places[count[j] :, j].any()
        assert bool(ties[j]) == (len(np.unique(was[order, j])) < count[j])
    assert unsettled.any()
    assert scale != 1.0 or not unsettled[1:5:3].any()


@pytest.mark.parametrize("bars", [1, 16, 40, BLOCK])
def test_bars_that_are_not_spared_become_rows_again(bars):
    block = np.random.default_rng(4).integers(0, 99, (7, BLOCK), dtype=np.int32)
    spared = np.ones(BLOCK, np.bool_)
    spared[[0, 35]] = False
    rows = np.full((BLOCK, 7), -1, np.int32)
    turn_back(block, spared, bars, rows)
    for first in range(0, BLOCK, SIDE):
        here = slice(first, first + SIDE)
        wanted = first < bars and not spared[first : min(first + SIDE, bars)].all()
        np.testing.assert_array_equal(rows[here], block.T[here] if wanted else -1)


@pytest.mark.parametrize("names", [50, 1_600])
def test_products_of_places(names):
    places = np.argsort(np.random.default_rng(2).random((names, BLOCK)), axis=0).astype(np.int32)
    places[:, 0] = np.arange(names)  # the largest sum
    total = np.empty(BLOCK, np.int64)
    place_products(places, column_mask(names), np.empty(BLOCK, np.int32), total)
    assert total.tolist() == (np.arange(names)[:, None] * places.astype(np.int64)).sum(axis=0).tolist()


@pytest.mark.parametrize("start, bars", [(0, BLOCK), (64, 1), (64, 13), (3, BLOCK)])
def test_rows_become_blocks(start, bars):
    draw = np.random.default_rng(3)
    values, wanted = draw.standard_normal((80, 11)), draw.random((80, 11)) < 0.7
    rows, block = values[start : start + bars], np.empty((11, BLOCK))
    turn(values, wanted, start, bars, block)
    np.testing.assert_array_equal(block[:, :bars], np.where(wanted, values, NAN)[start : start + bars].T)
    assert np.isnan(block[:, bars:]).all()
    column = draw.integers(0, 11, (11, BLOCK), dtype=np.uint16)
    gather(values, start, bars, column, block)
    np.testing.assert_array_equal(
        block[:, :bars], np.take_along_axis(rows.T, column[:, :bars].astype(np.int64), axis=0)
    )


def test_blocks_begin_with_a_cache_line():
    for shape, kind in (((3, BLOCK), np.float64), ((1, 1), np.int8), ((2, 5, BLOCK), np.uint16)):
        room = aligned(shape, kind)
        assert (room.shape, room.dtype, room.ctypes.data % LINE) == (shape, kind, 0)
        assert room.flags.c_contiguous
