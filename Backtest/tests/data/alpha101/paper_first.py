"""Alphas 1 to 50, written from the paper's appendix with the words of `paper_words`."""

from __future__ import annotations

import numpy as np

from .paper_words import (
    Floats,
    Market,
    choose,
    correlation,
    covariance,
    decay_linear,
    delay,
    delta,
    either,
    equal,
    indneutralize,
    less,
    log,
    over,
    power,
    product,
    rank,
    scale,
    signedpower,
    stddev,
    ts_argmax,
    ts_max,
    ts_min,
    ts_rank,
    ts_sum,
)


def alpha001(m: Market) -> Floats:
    base = choose(less(m.returns, 0), stddev(m.returns, 20), m.close)
    return rank(ts_argmax(signedpower(base, 2), 5)) - 0.5


def alpha002(m: Market) -> Floats:
    return -correlation(rank(delta(log(m.volume), 2)), rank(over(m.close - m.open, m.open)), 6)


def alpha003(m: Market) -> Floats:
    return -correlation(rank(m.open), rank(m.volume), 10)


def alpha004(m: Market) -> Floats:
    return -ts_rank(rank(m.low), 9)


def alpha005(m: Market) -> Floats:
    return rank(m.open - ts_sum(m.vwap, 10) / 10) * -np.abs(rank(m.close - m.vwap))


def alpha006(m: Market) -> Floats:
    return -correlation(m.open, m.volume, 10)


def alpha007(m: Market) -> Floats:
    week = delta(m.close, 7)
    return choose(less(m.adv(20), m.volume), -ts_rank(np.abs(week), 60) * np.sign(week), -1)


def alpha008(m: Market) -> Floats:
    both = ts_sum(m.open, 5) * ts_sum(m.returns, 5)
    return -rank(both - delay(both, 10))


def _trend(m: Market, d: int) -> Floats:
    change = delta(m.close, 1)
    falling = choose(less(ts_max(change, d), 0), change, -change)
    return choose(less(0, ts_min(change, d)), change, falling)


def alpha009(m: Market) -> Floats:
    return _trend(m, 5)


def alpha010(m: Market) -> Floats:
    return rank(_trend(m, 4))


def alpha011(m: Market) -> Floats:
    gap = m.vwap - m.close
    return (rank(ts_max(gap, 3)) + rank(ts_min(gap, 3))) * rank(delta(m.volume, 3))


def alpha012(m: Market) -> Floats:
    return np.sign(delta(m.volume, 1)) * -delta(m.close, 1)


def alpha013(m: Market) -> Floats:
    return -rank(covariance(rank(m.close), rank(m.volume), 5))


def alpha014(m: Market) -> Floats:
    return -rank(delta(m.returns, 3)) * correlation(m.open, m.volume, 10)


def alpha015(m: Market) -> Floats:
    return -ts_sum(rank(correlation(rank(m.high), rank(m.volume), 3)), 3)


def alpha016(m: Market) -> Floats:
    return -rank(covariance(rank(m.high), rank(m.volume), 5))


def alpha017(m: Market) -> Floats:
    bend = rank(delta(delta(m.close, 1), 1))
    return -rank(ts_rank(m.close, 10)) * bend * rank(ts_rank(over(m.volume, m.adv(20)), 5))


def alpha018(m: Market) -> Floats:
    body = m.close - m.open
    return -rank(stddev(np.abs(body), 5) + body + correlation(m.close, m.open, 10))


def alpha019(m: Market) -> Floats:
    week = (m.close - delay(m.close, 7)) + delta(m.close, 7)
    return -np.sign(week) * (1 + rank(1 + ts_sum(m.returns, 250)))


def alpha020(m: Market) -> Floats:
    return -rank(m.open - delay(m.high, 1)) * rank(m.open - delay(m.close, 1)) * rank(m.open - delay(m.low, 1))


def alpha021(m: Market) -> Floats:
    long, short, wide = ts_sum(m.close, 8) / 8, ts_sum(m.close, 2) / 2, stddev(m.close, 8)
    busy = over(m.volume, m.adv(20))
    heavy = choose(either(less(1, busy), equal(busy, 1)), 1, -1)
    return choose(less(long + wide, short), -1, choose(less(short, long - wide), 1, heavy))


def alpha022(m: Market) -> Floats:
    return -delta(correlation(m.high, m.volume, 5), 5) * rank(stddev(m.close, 20))


def alpha023(m: Market) -> Floats:
    return choose(less(ts_sum(m.high, 20) / 20, m.high), -delta(m.high, 2), 0)


def alpha024(m: Market) -> Floats:
    slope = over(delta(ts_sum(m.close, 100) / 100, 100), delay(m.close, 100))
    slow = either(less(slope, 0.05), equal(slope, 0.05))
    return choose(slow, -(m.close - ts_min(m.close, 100)), -delta(m.close, 3))


def alpha025(m: Market) -> Floats:
    return rank(-m.returns * m.adv(20) * m.vwap * (m.high - m.close))


def alpha026(m: Market) -> Floats:
    return -ts_max(correlation(ts_rank(m.volume, 5), ts_rank(m.high, 5), 5), 3)


def alpha027(m: Market) -> Floats:
    return choose(less(0.5, rank(ts_sum(correlation(rank(m.volume), rank(m.vwap), 6), 2) / 2)), -1, 1)


def alpha028(m: Market) -> Floats:
    return scale(correlation(m.adv(20), m.low, 5) + (m.high + m.low) / 2 - m.close)


def alpha029(m: Market) -> Floats:
    inner = rank(rank(-rank(delta(m.close - 1, 5))))
    scaled = scale(log(ts_sum(ts_min(inner, 2), 1)))
    return ts_min(product(rank(rank(scaled)), 1), 5) + ts_rank(delay(-m.returns, 6), 5)


def alpha030(m: Market) -> Floats:
    moves = [delay(m.close, lag) - delay(m.close, lag + 1) for lag in range(3)]
    signs = np.sign(moves[0]) + np.sign(moves[1]) + np.sign(moves[2])
    return over((1 - rank(signs)) * ts_sum(m.volume, 5), ts_sum(m.volume, 20))


def alpha031(m: Market) -> Floats:
    first = rank(rank(rank(decay_linear(-rank(rank(delta(m.close, 10))), 10))))
    return first + rank(-delta(m.close, 3)) + np.sign(scale(correlation(m.adv(20), m.low, 12)))


def alpha032(m: Market) -> Floats:
    return scale(ts_sum(m.close, 7) / 7 - m.close) + 20 * scale(correlation(m.vwap, delay(m.close, 5), 230))


def alpha033(m: Market) -> Floats:
    return rank(-power(1 - over(m.open, m.close), 1))


def alpha034(m: Market) -> Floats:
    quick = rank(over(stddev(m.returns, 2), stddev(m.returns, 5)))
    return rank((1 - quick) + (1 - rank(delta(m.close, 1))))


def alpha035(m: Market) -> Floats:
    first = ts_rank(m.volume, 32) * (1 - ts_rank(m.close + m.high - m.low, 16))
    return first * (1 - ts_rank(m.returns, 32))


def alpha036(m: Market) -> Floats:
    body = m.close - m.open
    return (
        2.21 * rank(correlation(body, delay(m.volume, 1), 15))
        + 0.7 * rank(m.open - m.close)
        + 0.73 * rank(ts_rank(delay(-m.returns, 6), 5))
        + rank(np.abs(correlation(m.vwap, m.adv(20), 6)))
        + 0.6 * rank((ts_sum(m.close, 200) / 200 - m.open) * body)
    )


def alpha037(m: Market) -> Floats:
    return rank(correlation(delay(m.open - m.close, 1), m.close, 200)) + rank(m.open - m.close)


def alpha038(m: Market) -> Floats:
    return -rank(ts_rank(m.close, 10)) * rank(over(m.close, m.open))


def alpha039(m: Market) -> Floats:
    quiet = 1 - rank(decay_linear(over(m.volume, m.adv(20)), 9))
    return -rank(delta(m.close, 7) * quiet) * (1 + rank(ts_sum(m.returns, 250)))


def alpha040(m: Market) -> Floats:
    return -rank(stddev(m.high, 10)) * correlation(m.high, m.volume, 10)


def alpha041(m: Market) -> Floats:
    return power(m.high * m.low, 0.5) - m.vwap


def alpha042(m: Market) -> Floats:
    return over(rank(m.vwap - m.close), rank(m.vwap + m.close))


def alpha043(m: Market) -> Floats:
    return ts_rank(over(m.volume, m.adv(20)), 20) * ts_rank(-delta(m.close, 7), 8)


def alpha044(m: Market) -> Floats:
    return -correlation(m.high, rank(m.volume), 5)


def alpha045(m: Market) -> Floats:
    late = rank(ts_sum(delay(m.close, 5), 20) / 20)
    sums = rank(correlation(ts_sum(m.close, 5), ts_sum(m.close, 20), 2))
    return -late * correlation(m.close, m.volume, 2) * sums


def _bend(m: Market) -> Floats:
    ten, twenty = delay(m.close, 10), delay(m.close, 20)
    return (twenty - ten) / 10 - (ten - m.close) / 10


def alpha046(m: Market) -> Floats:
    rest = choose(less(_bend(m), 0), 1, -(m.close - delay(m.close, 1)))
    return choose(less(0.25, _bend(m)), -1, rest)


def alpha047(m: Market) -> Floats:
    first = over(rank(over(1, m.close)) * m.volume, m.adv(20))
    second = over(m.high * rank(m.high - m.close), ts_sum(m.high, 5) / 5)
    return first * second - rank(m.vwap - delay(m.vwap, 5))


def alpha048(m: Market) -> Floats:
    change = delta(m.close, 1)
    moved = over(correlation(change, delta(delay(m.close, 1), 1), 250) * change, m.close)
    return over(indneutralize(moved, m.subindustry), ts_sum(power(over(change, delay(m.close, 1)), 2), 250))


def alpha049(m: Market) -> Floats:
    return choose(less(_bend(m), -0.1), 1, -(m.close - delay(m.close, 1)))


def alpha050(m: Market) -> Floats:
    return -ts_max(rank(correlation(rank(m.volume), rank(m.vwap), 5)), 5)


FIRST = {name: made for name, made in list(globals().items()) if name.startswith("alpha")}
"""Name -> formula."""
