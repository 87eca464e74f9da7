"""Run the user's own Backtrader strategy, ``module:Class`` of an allow-listed module, to the same RunRecord.

What the strategy sees:

- ``self.datas``: one feed per listing episode of each symbol that has a bar in the window, by symbol; named by the
  symbol (``self.getdatabyname("BTCUSDT")``), a relisting ``SYMBOL#2``.
- lines ``open high low close volume``, ``tradable`` (1.0 or 0.0) and one line per factor of the factor set. All feeds
  run on the whole clock: in a gap and after a delisting the prices are the last close and `tradable` is 0.0, before
  the first bar they are 1.0. A factor is NaN where it is missing. ``line[1]`` (the future) raises IndexError.
- an unmodified BackBroker with the run's cash, commission and slippage. Market orders fill at the next open, and no
  order fills on a bar that is not tradable. Sizes are the strategy's own: lot_step, min_notional, no_trade_band and
  on_rejected do not apply, and an order lives as long as its ``valid`` says.

What the engine does by itself: once an episode is known to be over it cancels the feed's orders and settles the
holding at the next bar (reason ``delisting``); when equity reaches zero it cancels everything, closes what can be
traded (reason ``ruin``) and calls the strategy no more.

What is recorded: orders that were filled and orders that were rejected for margin, in order of creation. Cancelled,
expired and never filled orders are not part of the record.
`slippage` is stated for market orders; that of a stop is inside its price.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import backtrader as bt
import numpy as np

from ...data.panel import Floats, Panel
from ...errors import FactorError, RunError, SettingsError, did_you_mean
from ...strategies.custom import is_backtrader, load_class
from ..costs import Costs
from ..episodes import checked_episodes
from ..journal import DUST, Journal
from ..ledger import RunRecord
from ..orders import Intent
from .broker import broker_of
from .feeds import Clock
from .reference import cerebro_of

WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
OWN_SIZES = "sizes are the strategy's own: lot_step, min_notional, no_trade_band and on_rejected do not apply to it"
FEED_LINES = ("close", "low", "high", "open", "volume", "openinterest", "datetime", "tradable")


def load_user_class(source: str, *, allow_modules: tuple[str, ...]) -> Any:
    """Return the bt.Strategy subclass that ``module:Class`` names; only an allow-listed module is imported."""
    kind = load_class(source, allow_modules=allow_modules)
    if not is_backtrader(kind):
        raise RunError(f"strategy {source!r} is not a backtrader.Strategy")
    return kind


def run_user_strategy(
    panel: Panel,
    factors: Mapping[str, Floats],
    source: str,
    *,
    params: Mapping[str, str],
    allow_modules: tuple[str, ...],
    costs: Costs,
    initial_cash: float,
) -> RunRecord:
    """Return the record of the user's strategy over the panel's window.

    Parameters
    ----------
    panel
        As for `reference.run`, with the field volume.
    factors
        Factor name -> float64 [T - warmup, S]; each becomes a line of that name.
    source
        ``module:Class``.
    params
        Values for the class's Backtrader params, read as the type of their default.
    allow_modules
        Modules that may be imported.
    costs, initial_cash
        As for `reference.run`; of the costs only commission, slippage, its cap and the haircut apply.

    Raises
    ------
    RunError
        The class cannot be had, or the run cannot be made; SettingsError for a parameter.
    """
    kind = load_user_class(source, allow_modules=allow_modules)
    given = typed_params(source, kind, params)
    clash = [name for name in factors if name in FEED_LINES]
    if clash:
        raise RunError(f"factor {clash[0]!r} has the name of a feed's line; rename it in the recipe")
    probe = next(iter(factors.values()), np.zeros((len(panel.age) - panel.warmup, len(panel.symbols))))
    episodes = checked_episodes(panel, probe, haircut=costs.delisting_haircut, initial_cash=initial_cash)
    window = panel.rows(panel.warmup, len(panel.age))
    journal = Journal(window.timestamp, window.symbols, episodes, costs=costs)
    cerebro = cerebro_of(episodes, Clock(window.timestamp), factors=factors)
    forced: set[int] = set()
    cerebro.broker = broker_of(costs, initial_cash=initial_cash, forced=forced)
    cerebro.addstrategy(kind, **given)
    cerebro.addanalyzer(Recorder, journal=journal, forced=forced, _name="factor_research_recorder")
    strategies = run_theirs(cerebro, source, factors=factors)
    if not strategies:
        raise RunError(f"strategy {source!r} skipped itself (StrategySkipError); nothing was run")
    recorder = strategies[0].analyzers.factor_research_recorder
    return recorder.finished()


def run_theirs(cerebro: Any, source: str, *, factors: Collection[str]) -> Any:
    """Run, and tell what the user's code raises with the place in it."""
    try:
        return cerebro.run()
    except FactorError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, AttributeError) and isinstance(error.obj, type(cerebro.datas[0].lines)):
            what = no_such_line(str(error.name), factors)
        file = getattr(sys.modules[source.partition(":")[0]], "__file__", None)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        place = f" at {file}:{lines[-1]}" if lines else ""
        raise RunError(f"strategy {source!r} raised {what}{place}") from error


def no_such_line(name: str, factors: Collection[str]) -> str:
    """Return what is told of a line that no feed has: Backtrader's own words name a class that it made up."""
    near = did_you_mean(name, [*FEED_LINES, *factors]) or ";"
    return (
        f"AttributeError: the feeds have no line {name!r}{near} factors are {', '.join(factors) or 'none'}, "
        f"other lines {', '.join(FEED_LINES)}"
    )


def typed_params(source: str, kind: Any, params: Mapping[str, str]) -> dict[str, Any]:
    """Return ``--param key=value`` as the types of the class's defaults."""
    defaults = dict(kind.params._getitems())
    typed = {}
    for key, text in params.items():
        if key not in defaults:
            allowed = ", ".join(defaults) or "none"
            near = did_you_mean(key, defaults) or ";"
            raise SettingsError(f"{source}: {key!r} is not a parameter{near} allowed: {allowed}")
        default = defaults[key]
        try:
            typed[key] = WORDS[text.lower()] if isinstance(default, bool) else typed_like(default, text)
        except (ValueError, KeyError):
            raise SettingsError(f"{source}: {key} is {text!r}; a value like {default!r} is allowed") from None
    return typed


def typed_like(default: Any, text: str) -> Any:
    """Return a text as the type of the default; a default of None takes the text as it is."""
    if default is not None and not isinstance(default, int | float | str):
        raise ValueError
    return text if default is None else type(default)(text)


class Recorder(bt.Analyzer):
    """Writes the journal beside the user's strategy, settles dead holdings and ends a ruined run."""

    params = (("journal", None), ("forced", None))

    def start(self) -> None:
        """Take the first bar as the next."""
        self.journal: Journal = self.p.journal
        self.row = -1
        self.ruined = False
        self.own: dict[int, str] = {}
        self.sent_at: dict[int, int] = {}
        self.booked: set[int] = set()
        self.refs: list[int] = []  # of each order in the journal
        self.places = {data: place for place, data in enumerate(self.strategy.datas)}

    def notify_order(self, order: Any) -> None:
        """Book what became of an order. Backtrader delivers it before the `next` of the bar that filled."""
        created = self.sent_at.setdefault(order.ref, self.row)
        # The rounding of a reversal may leave 1e-16 to fill, and one notification more, at the next bar.
        done = abs(order.executed.remsize) <= DUST * abs(order.created.size)
        refused = order.status in (bt.Order.Margin, bt.Order.Rejected)
        if (done or refused) and order.ref not in self.booked:
            self.booked.add(order.ref)
            self._book(self.row + 1, created, order)

    def _book(self, row: int, created: int, order: Any) -> None:
        place = self.places[order.data]
        held = float(self.journal.sizes[self.journal.episodes[place].column])
        filled, size = float(order.executed.size), float(order.created.size)
        reason = self.own.pop(order.ref, "") or reason_of(held, size)
        margin = order.status in (bt.Order.Margin, bt.Order.Rejected)
        intent = Intent(self.journal.episodes[place].column, size if margin else filled, reason)
        self.journal.outcome(
            row,
            intent,
            place,
            filled=filled,
            price=order.executed.price,
            commission=order.executed.comm,
            margin=margin,
            created=created,
            market=order.exectype == bt.Order.Market,
        )
        self.refs += [order.ref] * (len(self.journal.orders) - len(self.refs))
        self.journal.hold(place, held + filled)

    def next(self) -> None:
        """Record the bar after the strategy acted on it, then settle the dead and watch for ruin."""
        self.row += 1
        broker, journal = self.strategy.broker, self.journal
        for place, data in enumerate(self.strategy.datas):
            position = broker.positions[data].size
            if position or journal.holder[journal.episodes[place].column] == place:
                journal.hold(place, position)
        journal.bar(self.row, cash=broker.getcash(), equity=broker.getvalue())
        if not self.ruined and broker.getvalue() <= 0:
            self._end()
        for place, data in enumerate(self.strategy.datas):
            if journal.episodes[place].proven <= self.row:
                self._close(place, "delisting")
            elif self.ruined and data.tradable[0]:
                self._close(place, "ruin")

    def _end(self) -> None:
        self.ruined = True
        broker = self.strategy.broker
        for order in list(broker.pending):
            broker.cancel(order)
        broker.submitted.clear()
        for name in ("next", "prenext", "nextstart", "notify_order", "notify_trade", "notify_timer"):
            setattr(self.strategy, name, do_nothing)

    def _close(self, place: int, reason: str) -> None:
        data, broker = self.strategy.datas[place], self.strategy.broker
        size = broker.positions[data].size
        for order in [order for order in broker.pending if order.data is data]:
            broker.cancel(order)
        if size:
            trade = broker.sell if size > 0 else broker.buy
            order = trade(self.strategy, data, abs(size), _checksubmit=False)
            self.own[order.ref] = reason
            if reason == "delisting":
                self.p.forced.add(order.ref)

    def finished(self) -> RunRecord:
        """Return the record; where the strategy stopped itself, what it held is valued to the end."""
        self.journal.rest(self.row + 1, cash=self.strategy.broker.getcash())
        # They were booked as they ended; Backtrader counts its orders as they are created.
        by_creation = sorted(zip(self.refs, self.journal.orders, strict=True), key=lambda pair: pair[0])
        self.journal.orders = [replace(order, order_id=n) for n, (_, order) in enumerate(by_creation, 1)]
        return self.journal.record(self.ruined, (OWN_SIZES,))


def do_nothing(*args: Any, **kwargs: Any) -> None:
    """Stand in for the strategy's methods once it is ruined."""


def reason_of(held: float, size: float) -> str:
    """Return close when an order takes the holding to zero, flip when it reverses it, else rebalance."""
    if held and held + size == 0:
        return "close"
    return "flip" if held * size < 0 and abs(size) > abs(held) else "rebalance"
