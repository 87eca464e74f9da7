"""The simulated market behind the demo: hourly klines of made-up price histories, the same bytes on every system.

1. Common factor: the market's hourly return has GARCH(1,1) variance and fat-tailed shocks (`simulate_market`).
2. Symbol: beta times the market, a GARCH return of its own, and a slow drift (`symbol_moves`).
3. Bar: eight trades an hour make open, high, low, close, volume and taker volume (`trade_bars`).
4. Premium index: a mean-reverting fraction around zero that follows the symbol's returns (`premium_bars`).

The one effect that is built in: each symbol's expected return is a slow AR(1) process (`DRIFT_HALF_LIFE`, `DRIFT`), so
that winners of the last week go on winning a little: momentum has a small positive rank IC. It is there so that a
demo's plots show something; it says nothing about real markets.

Only +, -, *, / and sqrt are used, which IEEE 754 rounds the same everywhere (exp and log differ between systems in the
last bit), and uniform numbers from the raw 64-bit stream of PCG64, which NumPy keeps stable. Prices and volumes are
whole numbers of ticks and lots, so money traded is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

HOUR_MS = 3_600_000
START_MS = 1_672_531_200_000
"""2023-01-01 00:00 UTC."""
BARS = 24 * (365 + 366)
"""Two years: 2023 and 2024."""

TRADES = 8
"""Trades that make a bar."""
FIRST_TRADE = 0.1
"""Share of an hour's deviation between the previous close and the open: small, for the market never closes."""

GARCH_SHOCK, GARCH_MEMORY, GARCH_CAP = 0.07, 0.91, 16.0
"""Variance of the next hour = (1 - shock - memory) + (shock * squared innovation + memory) * variance, of mean 1."""

MARKET_DEVIATION = 0.0048
"""Hourly, about 45 % a year: near what large coins showed in 2023 and 2024."""
MARKET_DRIFT = 0.00003
"""Hourly, about 26 % a year."""

DRIFT_HALF_LIFE = 240
DRIFT = 0.00016
"""Standard deviation of a symbol's expected hourly return: 0.4 % a day against 3 to 5 % of noise."""

QUOTE_DECIMALS = 6
"""Decimals of price plus decimals of volume, for every symbol: money traded is a whole number of millionths."""

PREMIUM_DECIMALS = 8


@dataclass(frozen=True)
class Listing:
    """One made-up history.

    Attributes
    ----------
    symbol
        Column name.
    price
        Quote currency at the market's start.
    decimals
        Of the price; volume has `QUOTE_DECIMALS` less these.
    beta, deviation
        Exposure to the common factor and hourly standard deviation of the symbol's own return.
    daily_money
        Mean quote currency traded in a day.
    first, last
        First bar and the bar after the last one, counted from the market's start.
    """

    symbol: str
    price: float
    decimals: int
    beta: float
    deviation: float
    daily_money: float
    first: int = 0
    last: int = BARS

    @property
    def usual_deviation(self) -> float:
        """Hourly standard deviation of the symbol's return, common factor included."""
        return float(np.sqrt(_square(self.beta * MARKET_DEVIATION) + _square(self.deviation)))


LISTINGS = (
    Listing("ADAUSDT", 0.25, 5, 1.15, 0.0060, 9.0e7),
    Listing("AVAXUSDT", 11.0, 4, 1.25, 0.0068, 7.0e7),
    Listing("BNBUSDT", 245.0, 2, 0.85, 0.0038, 1.4e8),
    Listing("BTCUSDT", 16_500.0, 2, 1.00, 0.0014, 1.2e9),
    Listing("DOGEUSDT", 0.07, 6, 1.10, 0.0066, 1.1e8),
    Listing("ETHUSDT", 1_200.0, 2, 1.10, 0.0026, 6.0e8),
    Listing("FADEUSDT", 0.8, 5, 1.20, 0.0075, 1.2e7, last=24 * 592 + 3),
    Listing("LINKUSDT", 5.6, 4, 1.05, 0.0062, 5.0e7),
    Listing("LTCUSDT", 70.0, 3, 0.95, 0.0052, 6.0e7),
    Listing("NOVAUSDT", 2.5, 4, 1.30, 0.0080, 2.5e7, first=24 * 243 + 8),
    Listing("SOLUSDT", 10.0, 4, 1.35, 0.0072, 1.8e8),
    Listing("XRPUSDT", 0.34, 5, 0.95, 0.0060, 1.3e8),
)
"""Sorted by symbol. NOVAUSDT is listed late (2023-09-01 08:00), FADEUSDT delisted early (2024-08-15 03:00)."""

OUTAGE = (24 * 429 + 2, 24 * 429 + 8)
"""The exchange stands still for six hours from 2024-03-05 02:00 on: no symbol has these bars."""


def uniform(seed: int, stream: str, shape: tuple[int, ...]) -> Floats:
    """Return numbers in [0, 1) that depend on seed and stream name only."""
    count = int(np.prod(shape))
    raw = np.random.PCG64([seed, *stream.encode("ascii")]).random_raw(count)
    return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def noise(seed: int, stream: str, shape: tuple[int, ...]) -> Floats:
    """Return uniform noise of mean 0 and variance 1; eight of them add up to nearly a normal."""
    centred = 2.0 * uniform(seed, stream, shape) - 1.0
    return centred * float(np.sqrt(3.0))


def recursion(multiplier: Floats, addition: Floats, start: float, cap: float = np.inf) -> Floats:
    """Return x with x[0] = start and x[t + 1] = min(multiplier[t] * x[t] + addition[t], cap)."""
    values, value = [], start
    for factor, term in zip(multiplier.tolist(), addition.tolist(), strict=True):
        values.append(value)
        value = min(factor * value + term, cap)
    return np.array(values)


def shocks(seed: int, stream: str) -> Floats:
    """Return the standardised moves of each trade, [BARS, TRADES]: unit variance per bar, now and then a large bar."""
    draw = uniform(seed, stream + " size", (BARS, 1))
    size = np.where(draw < 0.015, 3.0, np.where(draw < 0.10, 1.7, 0.85)) / np.sqrt(1.0309)
    later = np.sqrt((1.0 - FIRST_TRADE * FIRST_TRADE) / (TRADES - 1))
    weight = np.array([FIRST_TRADE] + [later] * (TRADES - 1))
    moves: Floats = noise(seed, stream + " trades", (BARS, TRADES)) * weight * size
    return moves


def across(trades: Floats) -> Floats:
    """Return the sum over a bar's trades in one fixed order (np.sum's depends on the machine)."""
    total = trades[:, 0]
    for place in range(1, TRADES):
        total = total + trades[:, place]
    return total


def variances(moves: Floats) -> Floats:
    """Return the GARCH(1,1) variance of each bar, of mean near 1, from standardised moves."""
    innovation = across(moves)
    multiplier = GARCH_SHOCK * innovation * innovation + GARCH_MEMORY
    rest = np.full(BARS, 1.0 - GARCH_SHOCK - GARCH_MEMORY)
    return recursion(multiplier, rest, 1.0, GARCH_CAP)


def season() -> Floats:
    """Return the hour's share of activity, of mean 1: 1.2 at 14:00 UTC falling evenly to 0.8 at 02:00."""
    hours = np.arange(BARS) % 24
    distance = np.abs((hours - 14 + 12) % 24 - 12)
    share: Floats = 1.2 - 0.4 * distance / 12.0
    return share


def _square(value: Any) -> Any:
    # a product is rounded alike everywhere; powers go through the system's pow
    return value * value


def simulate_market(seed: int) -> tuple[Floats, Floats]:
    """Return the common factor's returns per trade [BARS, TRADES] and its deviation per bar [BARS]."""
    moves = shocks(seed, "market")
    deviation = MARKET_DEVIATION * season() * np.sqrt(variances(moves))
    return moves * deviation[:, None] + MARKET_DRIFT / TRADES, deviation


def symbol_moves(listing: Listing, seed: int, market: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Return the symbol's returns per trade [BARS, TRADES] and its deviation per bar [BARS]."""
    own = shocks(seed, listing.symbol)
    deviation = listing.deviation * season() * np.sqrt(variances(own))
    memory = 1.0 - 0.693 / DRIFT_HALF_LIFE
    push = noise(seed, listing.symbol + " drift", (BARS,)) * (DRIFT * np.sqrt(1.0 - memory * memory))
    drift = recursion(np.full(BARS, memory), push, 0.0)
    # half the variance makes up for what compounding takes: the typical price neither dies nor explodes in two years
    level = 0.5 * _square(listing.usual_deviation)
    moves = listing.beta * market[0] + own * deviation[:, None] + (drift + level)[:, None] / TRADES
    common = listing.beta * market[1]
    return np.clip(moves, -0.5, 0.5), np.sqrt(_square(common) + _square(deviation))


def trade_bars(listing: Listing, seed: int, moves: Floats, deviation: Floats) -> dict[str, Integers]:
    """Return prices in ticks, volumes in lots and money in millionths, int64 [BARS] each."""
    path = listing.price * np.multiply.accumulate(1.0 + moves.reshape(-1)).reshape(BARS, TRADES)
    price = np.maximum(np.rint(path * 10**listing.decimals), 1.0).astype(np.int64)
    usual = listing.usual_deviation
    activity = 0.15 + 0.45 * deviation / usual + 0.5 * np.abs(across(moves)) / usual
    size = (0.6 + 0.8 * uniform(seed, listing.symbol + " volume", (BARS,))) * season() * activity
    money = size * (listing.daily_money / 24.0)
    share = 0.3 + uniform(seed, listing.symbol + " shares", (BARS, TRADES))
    traded = money[:, None] * share / across(share)[:, None]
    lots = np.maximum(np.rint(traded / path * 10 ** (QUOTE_DECIMALS - listing.decimals)), 1.0).astype(np.int64)
    taste = 0.3 * (uniform(seed, listing.symbol + " takers", (BARS, TRADES)) - 0.5)
    lean = 0.5 + 0.08 * moves / deviation[:, None] + taste
    taken = np.rint(lots * np.clip(lean, 0.05, 0.95)).astype(np.int64)
    trade_count = 1.0 + np.rint(money / 1_500.0 * (0.7 + 0.6 * uniform(seed, listing.symbol + " count", (BARS,))))
    return {
        "open": price[:, 0],
        "high": price.max(axis=1),
        "low": price.min(axis=1),
        "close": price[:, -1],
        "volume": lots.sum(axis=1),
        "quote_asset_volume": (price * lots).sum(axis=1),
        "number_of_trades": np.maximum(trade_count, TRADES).astype(np.int64),
        "taker_buy_base_volume": taken.sum(axis=1),
        "taker_buy_quote_volume": (price * taken).sum(axis=1),
    }


def premium_bars(listing: Listing, seed: int, moves: Floats) -> dict[str, Integers]:
    """Return the premium index in units of its last decimal, int64 [BARS] each."""
    push = 0.006 * across(moves) + 0.00004 * noise(seed, listing.symbol + " premium", (BARS,))
    opened = recursion(np.full(BARS, 0.9), push, 0.0)
    closed = np.append(opened[1:], 0.9 * opened[-1] + push[-1])
    reach = 0.00006 * uniform(seed, listing.symbol + " premium range", (2, BARS))
    paths = {
        "premium_open": opened,
        "premium_high": np.maximum(opened, closed) + reach[0],
        "premium_low": np.minimum(opened, closed) - reach[1],
        "premium_close": closed,
    }
    return {name: np.rint(values * 10**PREMIUM_DECIMALS).astype(np.int64) for name, values in paths.items()}


def simulate_symbol(listing: Listing, seed: int, market: tuple[Floats, Floats]) -> dict[str, Integers]:
    """Return the sixteen kline columns of the symbol's own bars as whole numbers of their units, int64 [N] each."""
    moves, deviation = symbol_moves(listing, seed, market)
    opened = START_MS + HOUR_MS * np.arange(BARS, dtype=np.int64)
    bars = {
        "open_time": opened,
        "close_time": opened + HOUR_MS - 1,
        **trade_bars(listing, seed, moves, deviation),
        **premium_bars(listing, seed, moves),
        "premium_close_time": opened + HOUR_MS - 1,
    }
    rows = np.arange(BARS)
    kept = (rows >= listing.first) & (rows < listing.last) & ~((rows >= OUTAGE[0]) & (rows < OUTAGE[1]))
    return {name: values[kept] for name, values in bars.items()}
