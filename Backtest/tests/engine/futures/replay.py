"""The slow twin of the futures account: plain Python written from ENGINE.md section 9, sharing no code with the engine.

Listings, marks, targets and strategies are those of the spot replay; what is a wallet, a margin, funding and a
liquidation stands here, one rule once.
"""

from __future__ import annotations

import math
from collections import Counter

from Backtest.tests.engine import replay as spot
from Backtest.tests.engine.replay_overlays import Overlays

OPEN, LATER = True, False


def replay(market, scores, strategy, costs, cash, terms, seen=None):
    """Return (orders, equity, wallet, margin in use per bar, ruined); `market` and more as the spot replay has them.

    `terms`: mode, leverage[symbol], tiers[symbol] = [(first row, [(floor, rate, cap, cum), ...]), ...], taker[t],
    liquidation[t], funding[symbol][t] = [(at the open, rate, mark or None), ...] in time order, with `when` for ties.
    """
    account = Account(market, costs, cash, Counter() if seen is None else seen, terms)
    overlays = Overlays(account, strategy.get("overlays", {}), cash)
    equity, wallets, margins = [], [], []
    rows = len(market["due"])
    for t in range(rows):
        account.live(t)
        value = account.value(t)
        equity.append(value)
        wallets.append(account.cash)
        margins.append(account.used({symbol: account.mark(symbol, t) for symbol in account.entry}))
        account.ruined = account.ruined or value <= 0
        if t + 1 == rows:
            break
        wishes = spot.forced_orders(account, t)
        leaving = {} if account.ruined else overlays.look(t)
        weights = {}
        if market["due"][t] and not account.ruined:
            weights = overlays.limit(spot.WEIGHTS[strategy["kind"]](account, scores, strategy, t), t)
        weights |= dict.fromkeys(leaving, 0.0)
        wishes += [
            {**order, "reason": leaving.get(order["symbol"], order["reason"])}
            for order in spot.target_orders(account, weights, t)
        ]
        wishes.sort(key=lambda o: (o["size"] > 0, not spot.closes_something(account, o), o["symbol"]))
        if costs["on_rejected"] == "scale":
            wishes = scale_to_margin(account, wishes, t)
        account.waiting = wishes
    return account.orders, equity, wallets, margins, account.ruined


class Account(spot.Account):
    """`cash` is the wallet, `entry` the entry price of what is held, in the sequence in which it was opened.

    `average` is what was paid for it, which overlays look at: `entry` moves where profits are settled.
    """

    def __init__(self, market, costs, cash, seen, terms):
        super().__init__(market, costs, cash, seen)
        self.terms, self.entry, self.margin = terms, {}, {}
        self.isolated = terms["mode"] == "isolated"

    def value(self, t):
        return self.cash + sum(self.gain(symbol, self.mark(symbol, t)) for symbol in self.entry)

    def gain(self, symbol, price):
        return self.size[symbol] * (price - self.entry[symbol])

    def used(self, prices):
        if self.isolated:
            return sum(self.margin[symbol] for symbol in self.entry)
        return sum(abs(self.size[s]) * prices[s] / self.terms["leverage"][s] for s in self.entry)

    def tier(self, symbol, notional, t):
        tables = [table for first, table in self.terms["tiers"][symbol] if first <= t]
        table = tables[-1] if tables else self.terms["tiers"][symbol][0][1]
        self.seen["an older tier table"] += 0 < len(tables) < len(self.terms["tiers"][symbol])
        place = max(n for n, row in enumerate(table) if notional >= row[0])
        self.seen["a higher tier"] += place > 0
        return table[place]

    def maintenance(self, symbol, price, t):
        notional = abs(self.size[symbol]) * price
        _floor, rate, _cap, cum = self.tier(symbol, notional, t)
        return notional * rate - cum

    def at_open(self, symbol, t):
        """The open; of what is over its last close, and on the bar that settles it that less the haircut."""
        if self.over(symbol, t - 1) if t else False:
            return self.mark(symbol, t) * (1 - self.costs["delisting_haircut"])
        bar = self.market["bars"][symbol][t]
        if bar is None or self.last_bar(symbol, t) != t:
            return self.mark(symbol, t)
        return bar[0]

    def adverse(self, symbol, t):
        bar = self.market["bars"][symbol][t]
        if bar is None or self.last_bar(symbol, t) != t:
            return self.mark(symbol, t)
        return bar[2] if self.size[symbol] > 0 else bar[1]

    def live(self, t):
        self.settle(t, OPEN)
        struck = set()
        if self.waiting:
            now = {symbol: self.at_open(symbol, t) for symbol in self.entry}
            self.settle_profits(now)
            struck = self.liquidate(now, now, t)
            self.fill_orders(t, struck)
        self.settle(t, LATER)
        now = {symbol: self.at_open(symbol, t) for symbol in self.entry}
        self.settle_profits(now)
        worst = {symbol: now[symbol] if self.over(symbol, t) else self.adverse(symbol, t) for symbol in self.entry}
        self.liquidate(now, worst, t)

    def settle(self, t, when):
        """Longs pay mark * quantity * rate where the rate is positive; the mark is the open where no file has it."""
        events = []
        for column, symbol in enumerate(self.market["symbols"]):
            for moment, rate, mark in self.terms["funding"][symbol].get(t, ()):
                if (moment == 0) == when:
                    events.append((moment, column, symbol, rate, mark))
        for moment, _column, symbol, rate, mark in sorted(events, key=lambda event: event[:2]):
            bar = self.market["bars"][symbol][t]
            if symbol not in self.entry or self.lives[symbol][t][0] != self.listing(symbol) or self.over(symbol, t):
                continue
            self.seen["funding at an open" if moment == 0 else "funding inside a bar"] += 1
            self.seen["funding paid by a short"] += self.size[symbol] < 0 and rate < 0
            price = mark if mark is not None else bar[0] if bar is not None else self.mark(symbol, t)
            flow = max(-self.size[symbol] * price * rate, -self.payable(symbol, t))
            self.cash += flow
            if self.isolated:
                self.margin[symbol] += flow
            side = "buy" if self.size[symbol] > 0 else "sell"
            self.orders.append({
                "created": t, "filled": t, "symbol": symbol, "side": side, "size": 0.0, "price": price,
                "reason": "funding", "status": "filled", "detail": "", "commission": 0.0, "slippage": 0.0,
                "value": flow,
            })  # fmt: skip

    def payable(self, symbol, t):
        """Nobody pays more funding than the money behind the position, unrealised profits included."""
        behind = [symbol] if self.isolated else list(self.entry)
        profits = 0.0
        for other in behind:
            bar = self.market["bars"][other][t]
            alive = bar is not None and self.last_bar(other, t) == t and not self.over(other, t)
            profits += max(0.0, self.gain(other, bar[0] if alive else self.mark(other, t)))
        return max(0.0, (self.margin[symbol] if self.isolated else self.cash) + profits)

    def listing(self, symbol):
        return self.lives[symbol][self.bought[symbol]][0]

    def settle_profits(self, now):
        if self.isolated or self.cash >= 0:
            return
        for symbol in self.entry:
            if self.gain(symbol, now[symbol]) > 0:
                self.seen["profits pay a wallet's debt"] += 1
                self.cash += self.gain(symbol, now[symbol])
                self.entry[symbol] = now[symbol]

    # Liquidation

    def stand(self, symbols, prices, t):
        """(balance, maintenance) of these positions: their own margin, or the wallet."""
        money = self.margin[symbols[0]] if self.isolated else self.cash
        balance = money + sum(self.gain(symbol, prices[symbol]) for symbol in symbols)
        return balance, sum(self.maintenance(symbol, prices[symbol], t) for symbol in symbols)

    def liquidate(self, now, worst, t):
        struck: set[str] = set()
        before = self.cash
        groups = [[symbol] for symbol in self.entry] if self.isolated else [list(self.entry)]
        for group in groups:
            struck |= self.liquidate_group(group, dict(now), worst, t)
        if not self.entry and abs(self.cash) <= 1e-9 * before:
            self.cash = 0.0
        return struck

    def liquidate_group(self, group, now, worst, t):
        struck: set[str] = set()
        while group:
            balance, needed = self.stand(group, now, t)
            if balance > needed:
                at_worst, needed_there = self.stand(group, worst, t)
                if at_worst > needed_there:
                    return struck
                now = self.meeting(group, now, worst, t)
                self.seen["liquidated inside a bar"] += 1
                balance = self.stand(group, now, t)[0]
            if balance <= 0:
                self.seen["bankrupt"] += 1
                self.wipe_out(group, now, -balance, t)
                return struck | set(group)
            loser = min(group, key=lambda symbol: (self.gain(symbol, now[symbol]), list(self.entry).index(symbol)))
            if self.gain(loser, now[loser]) >= 0:
                loser = group[0]
            self.strike(loser, now, balance, t)
            struck.add(loser)
            group = [symbol for symbol in group if symbol != loser]
            self.seen["another leg survives a liquidation"] += bool(group)
            self.settle_profits({symbol: now[symbol] for symbol in self.entry if symbol in now})
        return struck

    def meeting(self, group, now, worst, t):
        """Where balance meets maintenance on the way, by bisection."""
        low, high = 0.0, 1.0
        for _ in range(200):
            middle = (low + high) / 2
            prices = {symbol: now[symbol] + middle * (worst[symbol] - now[symbol]) for symbol in group}
            balance, needed = self.stand(group, prices, t)
            low, high = (middle, high) if balance > needed else (low, middle)
        return {symbol: now[symbol] + high * (worst[symbol] - now[symbol]) for symbol in group}

    def formula(self, symbol, now, group, t):
        """The exchange's liquidation price: (WB - TMM + UPNL + cum - side q EP) / (q MMR - side q)."""
        others = [other for other in group if other != symbol]
        tmm = sum(self.maintenance(other, now[other], t) for other in others)
        upnl = sum(self.gain(other, now[other]) for other in others)
        q, side = abs(self.size[symbol]), 1 if self.size[symbol] > 0 else -1
        _floor, rate, _cap, cum = self.tier(symbol, q * now[symbol], t)
        money = self.margin[symbol] if self.isolated else self.cash
        return (money - tmm + upnl + cum - side * q * self.entry[symbol]) / (q * rate - side * q)

    def strike(self, symbol, now, balance, t):
        size, price = self.size[symbol], now[symbol]
        fill = price * (1 - self.costs["slippage"] * (1 if size > 0 else -1))
        bar = self.market["bars"][symbol][t]
        if self.costs["slippage_capped"]:
            alive = bar is not None and not self.over(symbol, t) and self.last_bar(symbol, t) == t
            low, high = (bar[2], bar[1]) if alive else (price, price)
            fill = max(fill, low) if size > 0 else min(fill, high)
        slippage = abs(size) * abs(fill - price)
        if slippage > balance:
            self.seen["slippage ends at the bankruptcy price"] += 1
            slippage, fill = balance, price - balance / size
        fee = min(abs(size) * fill * self.terms["liquidation"][t], balance - slippage)
        self.seen["a liquidation fee in full"] += fee < balance - slippage
        self.close(symbol, fill, fee, slippage, t)

    def close(self, symbol, fill, fee, slippage, t):
        size = self.size[symbol]
        self.cash += self.gain(symbol, fill) - fee
        self.size[symbol] = 0.0
        del self.entry[symbol]
        self.margin[symbol] = 0.0
        self.seen[f"a {'long' if size > 0 else 'short'} liquidated"] += 1
        self.orders.append({
            "created": t, "filled": t, "symbol": symbol, "side": "sell" if size > 0 else "buy", "size": abs(size),
            "price": fill, "reason": "liquidation", "status": "filled", "detail": "", "commission": fee,
            "slippage": slippage, "value": abs(size) * fill,
        })  # fmt: skip

    def wipe_out(self, group, now, missing, t):
        """The losers' losses end where the money does, each by the same share."""
        if self.isolated:
            (symbol,) = group
            self.close(symbol, now[symbol] + missing / self.size[symbol], 0.0, 0.0, t)
            return
        lost = -sum(min(0.0, self.gain(symbol, now[symbol])) for symbol in group)
        share = min(1.0, missing / lost) if lost > 0 else 0.0
        for symbol in [symbol for symbol in self.entry if symbol in group]:
            entry, price = self.entry[symbol], now[symbol]
            self.close(symbol, price + share * (entry - price) if self.gain(symbol, price) < 0 else price, 0.0, 0.0, t)

    # Orders

    def fill_orders(self, t, struck):
        """Every closing part, then each opening part that the margin covers."""
        outcomes = []
        for order in self.waiting:
            opened, price = (None, None) if order["symbol"] in struck else self.slipped(order, t)
            trouble = "margin" if order["symbol"] in struck else "untradable" if price is None else ""
            closing = 0.0
            if not trouble:
                closing, _ = spot.split(order["size"], self.size[order["symbol"]])
            fee = 0.0
            if closing and price is not None:
                fee = abs(closing) * price * self.terms["taker"][t]
                settled = "a long settled" if closing < 0 else "a short settled"
                self.seen[settled] += order["reason"] == "delisting"
                self.reduce(order["symbol"], closing, price, fee)
            outcomes.append([order, closing, fee, trouble, opened, price])
        now = {symbol: self.at_open(symbol, t) for symbol in self.entry}
        self.settle_profits(now)
        for outcome in outcomes:
            order, closing, _fee, trouble, opened, price = outcome
            rest = order["size"] - closing
            if not trouble and rest:
                now[order["symbol"]] = opened
                self.open(outcome, rest, now, t)
        self.settle_profits(now)
        for order, done, fee, trouble, opened, price in outcomes:
            if price is None:
                opened, price = self.slipped_anyway(order, t)
            self.book(order, t, done, trouble, opened, price)
            if done:
                self.orders[-1 if self.orders[-1]["status"] == "filled" else -2]["commission"] = fee
        self.waiting = []

    def slipped_anyway(self, order, t):
        """The price that a cancelled order would have had."""
        return self.slipped(order, t)

    def reduce(self, symbol, closing, price, fee):
        held = self.size[symbol]
        self.cash += -closing * (price - self.entry[symbol]) - fee
        self.margin[symbol] = self.margin.get(symbol, 0.0) * (1 + closing / held)
        self.size[symbol] = held + closing if closing != -held else 0.0
        if self.size[symbol] == 0:
            del self.entry[symbol]
            self.margin[symbol] = 0.0

    def open(self, outcome, rest, now, t):
        """Filled where afterwards the money still covers all initial margins, in a tier that allows the leverage."""
        order, closing, fee, _trouble, _opened, price = outcome
        symbol, leverage = order["symbol"], self.terms["leverage"][order["symbol"]]
        cost = abs(rest) * price * self.terms["taker"][t]
        held, entry, margin = self.size[symbol], self.entry.get(symbol), self.margin.get(symbol, 0.0)
        wallet = self.cash
        cap = self.tier(symbol, abs(held + rest) * now[symbol], t)[2]
        self.cash -= cost
        self.size[symbol] = held + rest
        self.entry[symbol] = price if entry is None else (entry * held + price * rest) / (held + rest)
        self.margin[symbol] = margin + abs(rest) * price / leverage
        money = self.cash if self.isolated else self.cash + sum(self.gain(s, now[s]) for s in self.entry)
        left = money - self.used(now)
        if leverage > cap or left < -1e-12 * (abs(left) + money + 1):
            self.seen["a tier refuses the leverage" if leverage > cap else "the margin refuses"] += 1
            self.cash, self.size[symbol], self.margin[symbol] = wallet, held, margin
            if entry is None:
                del self.entry[symbol]
            else:
                self.entry[symbol] = entry
            outcome[3] = "margin"
            return
        self.seen["a reversal"] += closing != 0
        self.seen["a relisting traded"] += self.lives[symbol][t][0] > 1
        more = held != 0
        self.average[symbol] = (self.average[symbol] * held + price * rest) / (held + rest) if more else price
        if held == 0:
            self.bought[symbol] = t
        outcome[1], outcome[2] = closing + rest, fee + cost


def scale_to_margin(account, orders, t):
    """One factor for all opening parts, so that the margin covers them at the closes, costs included."""
    costs, terms, step = account.costs, account.terms, account.costs["lot_step"]
    prices = {symbol: account.mark(symbol, t) for symbol in account.entry}
    free = (account.cash if account.isolated else account.value(t)) - account.used(prices)
    wanted = 0.0
    for order in orders:
        symbol, price = order["symbol"], order["close"]
        leverage = terms["leverage"][symbol]
        closing, opening = spot.split(order["size"], account.size[symbol])
        paid = price * (1 + costs["slippage"] * (1 if order["size"] > 0 else -1))
        if closing:
            free -= abs(closing) * paid * terms["taker"][t]
            if account.isolated:
                free += account.margin[symbol] * abs(closing / account.size[symbol])
                free += -closing * (paid - account.entry[symbol])
            else:
                free += abs(closing) * price / leverage - abs(closing) * abs(paid - price)
        bound = paid / leverage if account.isolated else price / leverage + abs(paid - price)
        wanted += abs(opening) * (bound + paid * terms["taker"][t])
    if wanted <= max(free, 0):
        return orders
    factor, kept = max(free, 0) / wanted, []
    account.seen["openings scaled" if factor else "openings scaled to nothing"] += 1
    for order in orders:
        closing, opening = spot.split(order["size"], account.size[order["symbol"]])
        if opening:
            lots = math.floor(round(abs(opening) / step) * factor * (1 - 1e-12))
            whole = lots + round(abs(closing) / step)
            size = closing if lots == 0 else math.copysign(whole * step, order["size"])
            if whole == 0 or (lots and abs(size) * order["close"] < costs["min_notional"] * (1 - 1e-9)):
                continue
            order = {**order, "size": size, "reason": order["reason"] if lots else "close"}
        kept.append(order)
    return kept
