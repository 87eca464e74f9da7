"""The slow twin of the overlays: plain Python written from the docstring of portfolio/overlays.py, symbol by symbol.

It shares no code with the engines; `replay` calls `look` at every close and `limit` at every rebalance.
"""

from __future__ import annotations

import math
import statistics

FLIP = "flip"
ALONE = None
NEARLY = 1e-9


class Overlays:
    """The rules of one run: {name: parameters}; of vol_target also its `window` in bars and `root` of a year's bars."""

    def __init__(self, account, rules, cash):
        self.account, self.rules, self.seen = account, rules, account.seen
        self.top = cash
        self.stopped_at = None  # row of the drawdown stop, while it lasts
        self.leaving = {}  # symbol -> the rule that closes it
        self.left_at = {}  # symbol -> (row, cooldown) of its last exit
        self.held = {}  # symbol -> (side, best price)

    def look(self, t):
        """Symbols to be closed at this close, with the rule that says so."""
        account = self.account
        for symbol, size in account.size.items():
            if size == 0:
                self.held.pop(symbol, None)
                self.leaving.pop(symbol, None)
                continue
            side = 1 if size > 0 else -1
            paid = account.average[symbol]
            if symbol not in self.held or self.held[symbol][0] != side:
                self.seen["a reversal begins a new reference"] += symbol in self.held
                self.held[symbol] = (side, paid)
            if account.tradable(symbol, t):
                self.look_at(symbol, side, paid, account.mark(symbol, t), t)
        self.look_at_equity(t)
        return dict(self.leaving)

    def look_at(self, symbol, side, paid, price, t):
        best = self.held[symbol][1]
        best = max(best, price) if side > 0 else min(best, price)
        self.held[symbol] = (side, best)
        if symbol in self.leaving:
            self.seen["an exit is sent again"] += 1
            return
        won = price / paid - 1 if side > 0 else 1 - price / paid
        back = 1 - price / best if side > 0 else price / best - 1
        best_won = best / paid - 1 if side > 0 else 1 - best / paid
        for name, rule in self.rules.items():
            if name == "trailing_stop":
                trails = rule["after"] == 0 or best_won >= rule["after"] - NEARLY
                self.seen["a trailing stop that does not trail yet"] += not trails
                fires = trails and back >= rule["pct"] - NEARLY
            else:
                gain = {"stop_loss": -won, "take_profit": won}.get(name, -math.inf)
                fires = gain >= rule.get("pct", 0.0) - NEARLY
            if fires:
                self.seen[f"{name} of a {'long' if side > 0 else 'short'}"] += 1
                self.leaving[symbol] = name
                self.left_at[symbol] = (t, rule["cooldown"])
                return

    def look_at_equity(self, t):
        rule = self.rules.get("drawdown_stop")
        if rule is None:
            return
        equity = self.account.value(t)
        if self.stopped_at is not None and rule["cooldown"] is not None and t > self.stopped_at + rule["cooldown"]:
            self.stopped_at, self.top = None, equity
            self.seen["trading resumes after a drawdown stop"] += 1
        self.top = max(self.top, equity)
        if self.stopped_at is None and equity <= self.top * (1 - rule["pct"] + NEARLY):
            self.stopped_at = t
            self.seen["drawdown_stop"] += any(self.account.size.values())
        if self.stopped_at is not None:
            for symbol, size in self.account.size.items():
                if size and symbol not in self.leaving:
                    self.leaving[symbol] = "drawdown_stop"

    def barred(self, symbol, t):
        if self.stopped_at is not None or symbol in self.leaving:
            return True
        row, cooldown = self.left_at.get(symbol, (-math.inf, 0))
        return t <= row + cooldown

    def limit(self, weights, t):
        """The weights of a rebalance after the rules."""
        account, equity = self.account, self.account.value(t)
        now = {s: size * account.mark(s, t) / equity if size else 0.0 for s, size in account.size.items()}
        asked = {symbol: 0.0 if self.barred(symbol, t) else weight for symbol, weight in weights.items()}
        for symbol, weight in asked.items():
            self.seen["a cooldown bars an opening"] += (
                symbol not in self.leaving and weights[symbol] not in (ALONE, 0.0, weight) and now[symbol] == 0
            )
        free = [s for s in asked if account.tradable(s, t) and asked[s] is not ALONE and not self.barred(s, t)]
        wish = {}
        for symbol, weight in asked.items():
            if weight is ALONE or not account.tradable(symbol, t):
                wish[symbol] = now[symbol]
            else:
                wish[symbol] = -now[symbol] if weight == FLIP else weight
        before = dict(wish)
        for name in ("vol_target", "max_position", "max_gross", "max_net", "max_turnover"):
            if name in self.rules:
                earlier = dict(wish)
                getattr(self, name)(self.rules[name], wish, now, free, t)
                self.seen[name] += any(abs(wish[s] - earlier[s]) > 1e-12 for s in free)
        return {symbol: asked[symbol] if wish[symbol] == before[symbol] else wish[symbol] for symbol in asked}

    def max_position(self, rule, wish, now, free, t):
        for symbol in free:
            wish[symbol] = max(-rule["cap"], min(rule["cap"], wish[symbol]))

    def max_gross(self, rule, wish, now, free, t):
        take(wish, free, sum(map(abs, wish.values())) - rule["cap"])

    def max_net(self, rule, wish, now, free, t):
        net = sum(wish.values())
        take(wish, [s for s in free if wish[s] * net > 0], abs(net) - rule["cap"])

    def max_turnover(self, rule, wish, now, free, t):
        turnover = sum(abs(wish[symbol] - now[symbol]) for symbol in free)
        if turnover > rule["cap"]:
            for symbol in free:
                wish[symbol] = now[symbol] + (wish[symbol] - now[symbol]) * rule["cap"] / turnover

    def vol_target(self, rule, wish, now, free, t):
        if not any(wish.values()):
            return
        volatility = self.volatility(rule, wish, t)
        if volatility is None:
            self.seen["a volatility that is not known"] += 1
            factor = 0.0
        elif volatility == 0:
            factor = rule["max_scale"]
        else:
            factor = min(rule["max_scale"], rule["annual"] / volatility)
            self.seen["weights scaled up"] += factor > 1
        for symbol in free:
            wish[symbol] *= factor

    def volatility(self, rule, wish, t):
        """Yearly deviation of the returns of this portfolio; a return that is missing is that of the others."""
        bars, moves = self.account.market["bars"], []
        gross = sum(map(abs, wish.values()))
        for row in range(max(1, t - rule["window"] + 1), t + 1):
            known = [s for s, weight in wish.items() if weight and bars[s][row] and bars[s][row - 1]]
            part = sum(abs(wish[s]) for s in known)
            if part and part >= gross / 2:
                self.seen["a return stands for those that are missing"] += part < gross * (1 - NEARLY)
                move = sum(wish[s] * (bars[s][row][3] / bars[s][row - 1][3] - 1) for s in known)
                moves.append(move * gross / part)
        if len(moves) < max(2, 0.9 * rule["window"]):
            return None
        return statistics.stdev(moves) * rule["root"]


def take(wish, chosen, excess):
    """Shrink the chosen in proportion by `excess` in all, to nothing at most."""
    total = sum(abs(wish[symbol]) for symbol in chosen)
    if excess > 0 and total > 0:
        for symbol in chosen:
            wish[symbol] *= max(0.0, 1 - excess / total)
