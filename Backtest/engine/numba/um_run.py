"""A run on USDT-M futures around the kernel: its account, and what the record and the log say of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...data import joins
from ...data.panel import Floats, Panel
from ...errors import RunError
from ..futures.terms import FuturesTerms, check_leverage, table_notes, unknown_funding
from ..ledger import RunRecord
from .layout import Market
from .um_layout import Futures, futures_of


def open_account(terms: FuturesTerms, symbols: tuple[str, ...], window: Panel, market: Market) -> Futures:
    """Return the futures account of a run before its first row; a leverage beyond the tiers is refused."""
    bars = joins.bars_of(window)
    check_leverage(terms, symbols, bars.opens)
    return futures_of(terms, symbols, bars, market)


def margin_record(record: RunRecord, terms: FuturesTerms, used: Floats, window: Panel) -> RunRecord:
    """Return the record with the margin in use, and with what the log must say.

    Raises
    ------
    RunError
        A position was held while its funding is unknown, and ``missing_funding`` is ``refuse``.
    """
    bars = joins.bars_of(window)
    there = record.sizes != 0
    held = there | np.vstack([np.zeros((1, there.shape[1]), dtype=np.bool_), there[:-1]])
    unknown = unknown_funding(terms, record.symbols, held, bars)
    if unknown and terms.missing_funding == "refuse":
        raise RunError(f"{unknown[0]}; missing_funding: warn runs without it")
    struck = [order for order in record.orders if order.reason == "liquidation"]
    words: tuple[str, ...] = ()
    if struck:
        first = np.datetime_as_string(record.timestamp[struck[0].filled_bar], unit="s")
        many = "1 position was" if len(struck) == 1 else f"{len(struck)} positions were"
        words += (f"{many} liquidated, the first on {first}Z: {struck[0].symbol}",)
    words += table_notes(terms, record.symbols, int(bars.opens[0]))
    return replace(record, used_margin=used, warnings=(*words, *unknown, *record.warnings))
