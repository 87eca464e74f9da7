"""Rows of the operator table about the market: fields that they imply, the age of a listing, who trades most."""

from __future__ import annotations

from .row_words import (
    MEMBERS,
    MIN_PERIODS,
    binary,
    check_window,
    no_lookback,
    window,
    window_lookback,
)
from .signature import Argument, Operator

QUOTE_VOLUME = "quote_asset_volume"
PERP, SPOT = Argument("perp", "operand"), Argument("spot", "operand")
FIELD = "missing where a field is"

MARKET = (
    Operator("vwap", (), "series", "elementwise", no_lookback, "elementwise:div",
             "Volume-weighted average price of the bar.", "quote_asset_volume / volume", FIELD + ", and at volume 0",
             "close / vwap", implicit=(QUOTE_VOLUME, "volume")),
    window("adv", "rolling:ts_mean", "sum of quote_asset_volume / n", "Average traded value, in quote currency a bar.",
           data=(), example="adv(20)", implicit=(QUOTE_VOLUME,)),
    Operator("taker_imbalance", (), "series", "elementwise", no_lookback, "market:taker_imbalance",
             "What takers bought less what they sold, as a share of the volume: -1 .. 1.",
             "(2 taker_buy_base_volume - volume) / volume", FIELD + ", and at volume 0", "taker_imbalance",
             implicit=("taker_buy_base_volume", "volume")),
    Operator("premium", (), "series", "elementwise", no_lookback, "market:premium",
             "Premium index of a perpetual contract over its index price, at the bar's close.", "premium_close", FIELD,
             "premium", implicit=("premium_close",)),
    binary("basis", "(perp - spot) / spot", "How much dearer the first price is than the second.",
           "basis(close, open)", "where spot is 0", arguments=(PERP, SPOT), kernel="market:basis"),
    Operator("age", (), "series", "elementwise", no_lookback, "market:age",
             "Bars since the listing, gaps included; a listing after more than `episode_gap` of silence counts anew.",
             "t - t of the episode's first bar: 0 on that bar", "outside every listing episode", "age"),
    Operator("adv_rank", (Argument("n", "count", low=1), Argument("d", "window", required=False, default=20,
                                                                  keyword_only=True), MIN_PERIODS),
             "mask", "cross", window_lookback, "market:adv_rank",
             "Among the n members that trade most: a universe by liquidity.",
             "adv(d) is among the n largest of the members", MEMBERS.replace("where x is", "where adv(d) is"),
             "adv_rank(3)", ties="the earlier symbol name counts as larger", check=check_window,
             implicit=(QUOTE_VOLUME,)),
)  # fmt: skip
