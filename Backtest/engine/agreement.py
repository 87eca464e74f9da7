"""Whether two engines made the same record of a run: the first order, then the first bar, that differs."""

from __future__ import annotations

import math

import numpy as np

from .ledger import Order, RunRecord

TOLERANCE = 1e-9
"""Relative; amounts are compared with the account's equity where they are small beside it."""

FACTS = ("created_bar", "filled_bar", "symbol", "side", "reason", "status", "detail")
NUMBERS = ("size", "price", "value", "commission", "slippage")


def first_difference(left: RunRecord, right: RunRecord, *, names: tuple[str, str]) -> str:
    """Return the first difference of two records of the same run in words, "" where there is none."""
    for one, other in zip(left.orders, right.orders, strict=False):
        field = differing_field(one, other)
        if field:
            mine, theirs = f"{worded(left, one)} on {names[0]}", f"{worded(right, other)} on {names[1]}"
            return f"order {one.order_id}, {field}: {mine}; {theirs}"
    if len(left.orders) != len(right.orders):
        at, name = (left, names[0]) if len(left.orders) > len(right.orders) else (right, names[1])
        extra = at.orders[min(len(left.orders), len(right.orders))]
        return f"order {extra.order_id} is on {name} only: {worded(at, extra)}"
    if left.ruined != right.ruined:
        return f"ruined is {left.ruined} on {names[0]}, {right.ruined} on {names[1]}"
    return differing_bar(left, right, names)


def differing_field(one: Order, other: Order) -> str:
    """Return the name of the first field in which two orders differ, "" where they are equal."""
    for name in FACTS:
        if getattr(one, name) != getattr(other, name):
            return name
    for name in NUMBERS:
        mine, theirs = getattr(one, name), getattr(other, name)
        close = math.isclose(mine, theirs, rel_tol=TOLERANCE, abs_tol=TOLERANCE * scale_of(one, name))
        if not (close or (math.isnan(mine) and math.isnan(theirs))):
            return name
    return ""


def scale_of(order: Order, name: str) -> float:
    """Return what costs are measured against: the order's value; sizes and prices stand for themselves."""
    return order.value if name in ("commission", "slippage") and math.isfinite(order.value) else 0.0


def differing_bar(left: RunRecord, right: RunRecord, names: tuple[str, str]) -> str:
    """Return the first bar at whose close equity or cash differ, in words, "" where there is none."""
    scale = np.maximum(np.abs(left.equity), np.abs(left.cash))
    for name in ("equity", "cash"):
        mine, theirs = getattr(left, name), getattr(right, name)
        wrong = np.flatnonzero(~(np.abs(mine - theirs) <= TOLERANCE * scale))
        if len(wrong):
            row = int(wrong[0])
            found = f"{float(mine[row])!r} on {names[0]}, {float(theirs[row])!r} on {names[1]}"
            return f"{name} at the close of {moment(left, row)}: {found}"
    return ""


def worded(record: RunRecord, order: Order) -> str:
    """Return an order in words."""
    what = f"{order.status} {order.side} of {order.size!r} {order.symbol} at {order.price!r} ({order.reason})"
    return f"{what} decided at {moment(record, order.created_bar)}"


def moment(record: RunRecord, row: int) -> str:
    """Return the open time of a row."""
    return f"{np.datetime_as_string(record.timestamp[row], unit='s')}Z"
