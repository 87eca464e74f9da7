"""The slow twin of the engine: plain Python written from ENGINE.md, sharing no code with the engine or the strategies.

`replay` runs topk, longshort and signal on lists of bars. It keeps one account and one list of orders; every rule
stands once, in the order of ENGINE.md's sections.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter

from Backtest.tests.engine.replay_overlays import Overlays

FLIP = "flip"
ALONE = None


def replay(market, scores, strategy, costs, cash, seen=None):
    """Return (orders, equity, cash per bar, ruined). `seen`, a Counter, counts how often each rule had an effect.

    `market`: symbols, bars[symbol][t] = (open, high, low, close) or None, tradable[symbol][t], gap (rows that may be
    missing inside a listing), due[t] (rebalance rows). `scores[symbol][t]`: float or None. `strategy`: kind and its
    parameters, `overlays` as replay_overlays.py takes them. `costs`: commission, slippage,
    slippage_capped, lot_step, min_notional, no_trade_band, on_rejected, delisting_haircut.
    """
    account = Account(market, costs, cash, Counter() if seen is None else seen)
    overlays = Overlays(account, strategy.get("overlays", {}), cash)
    equity, cashes = [], []
    rows = len(market["due"])
    for t in range(rows):
        account.fill(t)
        value = account.value(t)
        equity.append(value)
        cashes.append(account.cash)
        account.ruined = account.ruined or value <= 0
        if t + 1 == rows:
            break
        wishes = forced_orders(account, t)
        leaving = {} if account.ruined else overlays.look(t)
        weights = {}
        if market["due"][t] and not account.ruined:
            weights = overlays.limit(WEIGHTS[strategy["kind"]](account, scores, strategy, t), t)
        weights |= dict.fromkeys(leaving, 0.0)
        wishes += [
            {**order, "reason": leaving.get(order["symbol"], order["reason"])}
            for order in target_orders(account, weights, t)
        ]
        wishes.sort(key=lambda o: (o["size"] > 0, not closes_something(account, o), o["symbol"]))
        if costs["on_rejected"] == "scale":
            wishes = scale_to_cash(account, wishes, t)
        account.waiting = wishes
    return account.orders, equity, cashes, account.ruined


class Account:
    """Cash, holdings and the orders that wait for the next open."""

    def __init__(self, market, costs, cash, seen):
        self.market, self.costs, self.cash, self.seen = market, costs, cash, seen
        self.size = dict.fromkeys(market["symbols"], 0.0)
        self.lives = {symbol: lives(market["bars"][symbol], market["gap"]) for symbol in market["symbols"]}
        self.bought = {}  # the row of the first fill of what is held
        self.average = {}  # the price paid for what is held
        self.waiting, self.orders = [], []
        self.refused, self.ruined = set(), False

    def last_bar(self, symbol, t):
        """Row of the last bar at or before t of the listing that is held, of the latest where nothing is."""
        number, last = self.lives[symbol][t]
        held = self.lives[symbol][self.bought[symbol]][0] if self.size[symbol] else number
        if held < number:  # an old holding that could not be settled at once
            return max(row for n, row in self.lives[symbol][: t + 1] if n == held)
        return last

    def mark(self, symbol, t):
        return self.market["bars"][symbol][self.last_bar(symbol, t)][3]

    def over(self, symbol, t):
        """Known at the close of t of what is held: any further bar would begin a new listing."""
        return t - self.last_bar(symbol, t) > self.market["gap"]

    def tradable(self, symbol, t):
        there = self.market["bars"][symbol][t] is not None and self.market["tradable"][symbol][t]
        return there and (self.size[symbol] == 0 or self.last_bar(symbol, t) == t)

    def value(self, t):
        for symbol, size in self.size.items():
            if size and self.market["bars"][symbol][t] is None and not self.over(symbol, t):
                self.seen["a gap while held"] += 1
        return self.cash + sum(size * self.mark(symbol, t) for symbol, size in self.size.items() if size)

    def commission(self, size, price):
        return abs(size) * price * self.costs["commission"]

    def slipped(self, order, t):
        """(open, fill price) at t, Nones where nothing can be traded."""
        symbol, buy = order["symbol"], order["size"] > 0
        if order["reason"] == "delisting":
            last = self.mark(symbol, t - 1)
            bar = (
                last * (1 - self.costs["delisting_haircut"]),
                last,
                last * (1 - self.costs["delisting_haircut"]),
                last,
            )
        elif self.tradable(symbol, t):
            bar = self.market["bars"][symbol][t]
        else:
            return None, None
        price = bar[0] * (1 + self.costs["slippage"]) if buy else bar[0] * (1 - self.costs["slippage"])
        if self.costs["slippage_capped"]:
            self.seen["the cap on slippage binds"] += price > bar[1] if buy else price < bar[2]
            price = min(price, bar[1]) if buy else max(price, bar[2])
        return bar[0], price

    def fill(self, t):
        """Check 1 on a running cash, then check 2 order by order (section 3)."""
        running, passed = self.cash, []
        for order in self.waiting:
            if order["unchecked"]:
                passed.append(True)
                continue
            running -= order["size"] * order["close"] + self.commission(order["size"], order["close"])
            passed.append(running >= 0)
        turn = [i for i, o in enumerate(self.waiting) if o["unchecked"]]
        turn += [i for i, o in enumerate(self.waiting) if not o["unchecked"]]
        self.seen["check 1 refuses"] += passed.count(False)
        prices = [self.slipped(order, t) for order in self.waiting]
        outcome = {i: self.execute(self.waiting[i], prices[i][1], t) if passed[i] else (0.0, "margin") for i in turn}
        for i, order in enumerate(self.waiting):
            self.book(order, t, *outcome[i], *prices[i])
        self.waiting = []

    def execute(self, order, price, t):
        if price is None:
            self.seen["an order meets no bar" if self.market["bars"][order["symbol"]][t] is None else
                      "an order meets a bar that is not tradable"] += 1  # fmt: skip
            return 0.0, "untradable"
        held = self.size[order["symbol"]]
        if order["reason"] == "delisting":
            short, again = "short" if held < 0 else "long", ", asked again" if order["unchecked"] else ""
            self.seen[f"a {short} settled{again}"] += 1
            self.seen["a haircut"] += self.costs["delisting_haircut"] > 0
        closing, opening = split(order["size"], held)
        self.cash -= closing * price + (self.commission(closing, price) if closing else 0.0)
        self.size[order["symbol"]] += closing
        after = self.cash - opening * price - self.commission(opening, price)
        if opening and after < 0:
            self.seen["check 2 refuses a reversal's rest" if closing else "check 2 refuses"] += 1
            return closing, "margin"
        if opening:
            self.seen["a late listing traded"] += self.lives[order["symbol"]][0][0] == 0
            self.seen["a relisting traded"] += self.lives[order["symbol"]][t][0] > 1
            if held == 0:
                self.bought[order["symbol"]] = t
            self.cash = after
            self.size[order["symbol"]] = 0.0 + held + order["size"] if not closing else opening
            paid = self.average[order["symbol"]] if held and not closing else price
            self.average[order["symbol"]] = price if closing else (held * paid + opening * price) / (held + opening)
        if abs(self.size[order["symbol"]]) < 1e-12:
            self.size[order["symbol"]] = 0.0
        return order["size"], ""

    def book(self, order, t, done, trouble, opened, price):
        if order["reason"] == "delisting":
            (self.refused.discard if done else self.refused.add)(order["symbol"])
        for size, status, detail in ((done, "filled", ""), (order["size"] - done, "rejected", trouble)):
            if abs(size) > 1e-9 * abs(order["size"]):
                filled = status == "filled"
                self.orders.append({
                    "created": t - 1, "filled": t, "symbol": order["symbol"],
                    "side": "buy" if order["size"] > 0 else "sell", "size": abs(size), "price": price,
                    "reason": order["reason"], "status": status, "detail": detail,
                    "commission": self.commission(size, price) if filled else 0.0,
                    "slippage": abs(size) * abs(price - opened) if filled else 0.0,
                })  # fmt: skip


def lives(bars, gap):
    """(number of the listing, row of its last bar) at each row; a longer gap than `gap` begins a new listing."""
    number, last, rows = 0, None, []
    for row, bar in enumerate(bars):
        if bar is not None:
            number += last is None or row - last - 1 > gap
            last = row
        rows.append((number, last))
    return rows


def split(size, held):
    """(closing part, opening part) of an order."""
    if held == 0 or (held > 0) == (size > 0):
        return 0.0, size
    if abs(size) <= abs(held):
        return size, 0.0
    return -held, size + held


def closes_something(account, order):
    return split(order["size"], account.size[order["symbol"]])[0] != 0


def order_for(account, symbol, size, reason, t):
    unchecked = account.ruined or (reason == "delisting" and symbol in account.refused)
    return {"symbol": symbol, "size": size, "reason": reason, "close": account.mark(symbol, t), "unchecked": unchecked}


def forced_orders(account, t):
    """Settlements of the dead; on ruin the closing of everything that can be traded."""
    orders = []
    for symbol, size in account.size.items():
        if size and account.over(symbol, t):
            orders.append(order_for(account, symbol, -size, "delisting", t))
        elif size and account.ruined and account.tradable(symbol, t):
            orders.append(order_for(account, symbol, -size, "ruin", t))
    return orders


def target_orders(account, weights, t):
    """Sizes in whole lots toward zero, the band, the smallest notional (section 2)."""
    orders, equity, costs = [], account.value(t), account.costs
    for symbol, weight in weights.items():
        held = account.size[symbol]
        if weight is ALONE or not account.tradable(symbol, t):
            account.seen["a holding left alone by a repeated signal"] += weight is ALONE
            account.seen["a holding that cannot be traded"] += weight is not ALONE and held != 0
            continue
        price = account.mark(symbol, t)
        if weight == FLIP:
            change, reason = -2 * held, "flip"
            account.seen["a flip to long" if held < 0 else "a flip to short"] += 1
        else:
            if weight != 0 and abs(weight - held * price / equity) < costs["no_trade_band"] - 1e-9:
                account.seen["the no-trade band"] += 1
                continue
            exact = abs(weight) * equity / price / costs["lot_step"]
            whole = abs(exact - round(exact)) <= 1e-9 + 3e-16 * exact
            lots = round(exact) if whole else math.floor(exact)
            account.seen["a size cut to lots by more than 1 %"] += lots * costs["lot_step"] * price < 0.99 * abs(
                weight * equity
            )
            if lots == 0:
                account.seen["less than one lot"] += weight != 0
                change, reason = -held, "close"
            else:
                lots = lots if weight > 0 else -lots
                change, reason = (lots - round(held / costs["lot_step"])) * costs["lot_step"], "rebalance"
        if change and abs(change) * price >= costs["min_notional"] * (1 - 1e-9):
            orders.append(order_for(account, symbol, change, reason, t))
        elif change:
            account.seen[f"a {reason} below the smallest notional"] += 1
    return orders


def scale_to_cash(account, orders, t):
    """One factor for all opening buys, so that check 1 passes with slippage and commission at the closes."""
    costs, cash, wanted = account.costs, account.cash, 0.0
    step = costs["lot_step"]
    for order in orders:
        closing, opening = split(order["size"], account.size[order["symbol"]])
        price = order["close"] * (1 + costs["slippage"] * (1 if order["size"] > 0 else -1))
        if order["size"] < 0:
            cash += abs(order["size"]) * price * (1 - costs["commission"])
        else:
            cash -= closing * price * (1 + costs["commission"])
            wanted += opening * price * (1 + costs["commission"])
    if wanted <= max(cash, 0):
        return orders
    factor, kept = max(cash, 0) / wanted, []
    account.seen["buys scaled" if factor else "buys scaled to nothing"] += 1
    for order in orders:
        closing, opening = split(order["size"], account.size[order["symbol"]])
        if order["size"] > 0 and opening:
            lots = math.floor(round(opening / step) * factor * (1 - 1e-12))
            size = lots * step + closing
            if size == 0 or (lots and size * order["close"] < costs["min_notional"] * (1 - 1e-9)):
                continue
            order = {**order, "size": size, "reason": order["reason"] if lots else "close"}
        kept.append(order)
    return kept


# Strategies, from the sentences.


def cross_section(account, scores, t):
    """(weights now, names that can be chosen)."""
    equity = account.value(t)
    now = {symbol: (size * account.mark(symbol, t) / equity if size else 0.0) for symbol, size in account.size.items()}
    return now, [symbol for symbol in account.size if account.tradable(symbol, t) and scores[symbol][t] is not None]


def shares_of(chosen, values, left_out, weighting, volatility, seen):
    """Shares of a leg, best first, adding to 1."""
    n = len(chosen)
    seen["score weights with nobody left out"] += weighting == "score" and left_out is None
    if weighting == "score" and left_out is not None:
        distances = [value - left_out for value in values]
        seen["score weights of equal scores"] += sum(distances) == 0
        raw = distances if sum(distances) > 0 else [1.0] * n
    elif weighting in ("rank", "score"):
        raw = [float(n - place) for place in range(n)]
    elif weighting == "inverse_vol":
        raw = [1 / volatility[symbol] for symbol in chosen]
    else:
        raw = [1.0] * n
    return [value / sum(raw) for value in raw]


def cap(shares, budget, limit, seen):
    """Pour the budget over the shares; whoever is full passes the rest on."""
    weights = [0.0] * len(shares)
    full: set[int] = set()
    while True:
        open_shares = sum(share for place, share in enumerate(shares) if place not in full)
        rest = budget - limit * len(full)
        if open_shares <= 0 or rest <= 0:
            break
        poured = {place: rest * share / open_shares for place, share in enumerate(shares) if place not in full}
        spilling = {place for place, weight in poured.items() if weight > limit}
        seen["max_weight"] += bool(spilling)
        if not spilling:
            for place, weight in poured.items():
                weights[place] = weight
            break
        full |= spilling
    return [limit if place in full else weight for place, weight in enumerate(weights)]


def volatilities(account, strategy, t):
    """Standard deviation of the last `window` close-to-close returns; at least 90 % of them must be known."""
    window, result = strategy["window"], {}
    for symbol in account.size:
        bars, known = account.market["bars"][symbol], []
        for row in range(max(1, t - window + 1), t + 1):
            if bars[row] is not None and bars[row - 1] is not None:
                known.append(bars[row][3] / bars[row - 1][3] - 1)
        if len(known) >= max(0.9 * window, 2) and statistics.stdev(known) > 0:
            result[symbol] = statistics.stdev(known)
    return result


def leg_weights(account, ranked, strength, count, budget, strategy, volatility):
    account.seen["a tie at the cut"] += (
        0 < count < len(ranked) and strength[ranked[count - 1]] == strength[ranked[count]]
    )
    chosen, left = ranked[:count], ranked[count:]
    if not chosen:
        return {}
    left_out = strength[left[0]] if left else None
    values = [strength[symbol] for symbol in chosen]
    shares = shares_of(chosen, values, left_out, strategy["weighting"], volatility, account.seen)
    return dict(zip(chosen, cap(shares, budget, strategy["max_weight"], account.seen), strict=True))


def stuck(account, now, t, side):
    weight = sum(abs(w) for s, w in now.items() if w * side > 0 and not account.tradable(s, t))
    account.seen["a budget shared with what cannot be traded"] += weight > 0
    return weight


def topk(account, scores, strategy, t):
    now, names = cross_section(account, scores, t)
    sign = -1 if strategy["ascending"] else 1
    volatility = volatilities(account, strategy, t) if strategy["weighting"] == "inverse_vol" else None
    names = [symbol for symbol in names if volatility is None or symbol in volatility]
    budget = max(0.0, strategy["invest"] - stuck(account, now, t, 1))
    strength = {symbol: sign * scores[symbol][t] for symbol in names}
    account.seen["k too large"] += strategy["k"] > len(names)
    ranked = sorted(names, key=lambda symbol: (-strength[symbol], symbol))
    chosen = leg_weights(account, ranked, strength, strategy["k"], budget, strategy, volatility)
    return {symbol: chosen.get(symbol, 0.0) for symbol in account.size}


def longshort(account, scores, strategy, t):
    now, names = cross_section(account, scores, t)
    volatility = volatilities(account, strategy, t) if strategy["weighting"] == "inverse_vol" else None
    names = [symbol for symbol in names if volatility is None or symbol in volatility]
    wanted = strategy["k"] or max(1, math.floor(strategy["quantile"] * len(names) + 1e-9))
    count = min(wanted, len(names) // 2)
    account.seen["legs too large"] += count < wanted
    weights = dict.fromkeys(account.size, 0.0)
    sign = -1 if strategy["ascending"] else 1
    ranked = sorted(names, key=lambda symbol: (-sign * scores[symbol][t], symbol))
    for side in (1, -1):
        budget = max(0.0, strategy["gross_leverage"] / 2 - stuck(account, now, t, side))
        strength = {symbol: side * sign * scores[symbol][t] for symbol in names}
        leg = leg_weights(account, ranked[::side], strength, count, budget, strategy, volatility)
        for symbol, weight in leg.items():
            assert weights[symbol] == 0, f"{symbol} is in both legs"
            weights[symbol] = side * weight
    return weights


def signal(account, scores, strategy, t):
    size = strategy["weight"] if strategy["weight"] is not None else strategy["invest"] / len(account.size)
    weights = {}
    for symbol, held in account.size.items():
        score = scores[symbol][t]
        wanted = 0 if score is None else 1 if score > strategy["upper"] else -1 if score < strategy["lower"] else 0
        position = 0 if held == 0 else 1 if held > 0 else -1
        if position == 0:
            weights[symbol] = wanted * size
        else:
            weights[symbol] = ALONE if wanted == position else FLIP if wanted == -position else 0.0
    return weights


WEIGHTS = {"topk": topk, "longshort": longshort, "signal": signal}
