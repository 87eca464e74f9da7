"""From listing episodes to the kernel's market: one column per symbol, whichever of its episodes is alive."""

from __future__ import annotations

import numpy as np

from ...data.panel import Bools, Floats, Panel
from ..costs import Costs
from ..episodes import Episode, all_intact, refuse_unsound_prices
from ..orders import limits_of
from .layout import Market, Places, Terms

KERNEL = ("C", "A", "W")
"""What an array must be for the compiled kernel to be used as it is: Numba compiles anew for any other."""


def market_of(episodes: tuple[Episode, ...], alive: Places, tradable: Bools, *, panel: Panel, capped: bool) -> Market:
    """Return the market of a whole run. It shares the panel's arrays where nothing is missing in them.

    Parameters
    ----------
    episodes
        As `find_episodes` gives them; their prices are finite and positive.
    alive, tradable
        int32 and bool [T, S], as `decisions.owners` gives them.
    panel
        Whose episodes they are.
    capped
        Whether high and low will be read; without it the opens stand in their place.
    """
    for episode in episodes:
        if not episode.intact:
            refuse_unsound_prices(episode)
    rows = len(alive)
    feed = np.searchsorted([episode.column for episode in episodes], np.arange(alive.shape[1]))
    number = 1 + np.arange(len(episodes)) - feed[[episode.column for episode in episodes]]
    number = number.astype(np.int8 if number.max() <= np.iinfo(np.int8).max else np.int16)
    opened, close = joined(episodes, "open", panel), joined(episodes, "close", panel)
    single = number.max() == 1
    return Market(
        first=0,
        open=opened,
        high=joined(episodes, "high", panel) if capped else opened,
        low=joined(episodes, "low", panel) if capped else opened,
        close=close,
        tradable=np.require(tradable, requirements=KERNEL),
        alive=tradable.astype(number.dtype) if single else np.where(tradable, number[alive], 0).astype(number.dtype),
        feed=feed.astype(np.uint32),
        number=number,
        proven=np.array([episode.proven for episode in episodes], dtype=np.int64),
        last=np.array([episode.close[min(episode.proven, rows - 1)] for episode in episodes]),
    )


def joined(episodes: tuple[Episode, ...], name: str, panel: Panel) -> Floats:
    """Return one price [T, S]: each column shows an episode from its first row to the next one's."""
    bars = panel.fields[name][panel.warmup :]
    if all_intact(episodes, panel):
        return np.require(bars, np.float64, KERNEL)
    prices = np.ones(bars.shape)
    for episode in episodes:
        prices[episode.begin :, episode.column] = getattr(episode, name)[episode.begin :]
    return prices


def terms_of(costs: Costs, symbols: tuple[str, ...], *, rows: int) -> Terms:
    """Return costs and limits as the kernel takes them."""
    limits = limits_of(costs, symbols)
    return Terms(
        rows=rows,
        commission=float(costs.commission),
        slippage=float(costs.slippage),
        capped=bool(costs.slippage_capped),
        haircut=float(costs.delisting_haircut),
        band=float(costs.no_trade_band),
        scale=costs.on_rejected == "scale",
        lot_step=np.array(limits.lot_step),
        min_notional=np.array(limits.min_notional),
    )
