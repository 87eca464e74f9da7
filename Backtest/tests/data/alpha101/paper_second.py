"""Alphas 51 to 101, written from the paper's appendix with the words of `paper_words`."""

from __future__ import annotations

import numpy as np

from .paper_words import (
    Floats,
    Market,
    choose,
    correlation,
    decay_linear,
    delay,
    delta,
    indneutralize,
    larger,
    less,
    log,
    over,
    power,
    product,
    rank,
    scale,
    signedpower,
    smaller,
    ts_argmax,
    ts_argmin,
    ts_max,
    ts_min,
    ts_rank,
    ts_sum,
)


def _mix(x: Floats, y: Floats, share: float) -> Floats:
    return x * share + y * (1 - share)


def _middle(m: Market) -> Floats:
    return (m.high + m.low) / 2


def alpha051(m: Market) -> Floats:
    ten, twenty = delay(m.close, 10), delay(m.close, 20)
    bend = (twenty - ten) / 10 - (ten - m.close) / 10
    return choose(less(bend, -0.05), 1, -(m.close - delay(m.close, 1)))


def alpha052(m: Market) -> Floats:
    low = ts_min(m.low, 5)
    longer = (ts_sum(m.returns, 240) - ts_sum(m.returns, 20)) / 220
    return (-low + delay(low, 5)) * rank(longer) * ts_rank(m.volume, 5)


def alpha053(m: Market) -> Floats:
    return -delta(over((m.close - m.low) - (m.high - m.close), m.close - m.low), 9)


def alpha054(m: Market) -> Floats:
    return over(-(m.low - m.close) * power(m.open, 5), (m.low - m.high) * power(m.close, 5))


def alpha055(m: Market) -> Floats:
    low, high = ts_min(m.low, 12), ts_max(m.high, 12)
    return -correlation(rank(over(m.close - low, high - low)), rank(m.volume), 6)


def alpha056(m: Market) -> Floats:
    return 0 - rank(over(ts_sum(m.returns, 10), ts_sum(ts_sum(m.returns, 2), 3))) * rank(m.returns * m.cap)


def alpha057(m: Market) -> Floats:
    return 0 - over(m.close - m.vwap, decay_linear(rank(ts_argmax(m.close, 30)), 2))


def alpha058(m: Market) -> Floats:
    return -ts_rank(decay_linear(correlation(indneutralize(m.vwap, m.sector), m.volume, 3.92795), 7.89291), 5.50322)


def alpha059(m: Market) -> Floats:
    price = indneutralize(_mix(m.vwap, m.vwap, 0.728317), m.industry)
    return -ts_rank(decay_linear(correlation(price, m.volume, 4.25197), 16.2289), 8.19648)


def _pressure(m: Market) -> Floats:
    return over((m.close - m.low) - (m.high - m.close), m.high - m.low) * m.volume


def alpha060(m: Market) -> Floats:
    return 0 - (2 * scale(rank(_pressure(m))) - scale(rank(ts_argmax(m.close, 10))))


def alpha061(m: Market) -> Floats:
    return less(rank(m.vwap - ts_min(m.vwap, 16.1219)), rank(correlation(m.vwap, m.adv(180), 17.9282)))


def alpha062(m: Market) -> Floats:
    first = rank(correlation(m.vwap, ts_sum(m.adv(20), 22.4101), 9.91009))
    second = rank(less(rank(m.open) + rank(m.open), rank(_middle(m)) + rank(m.high)))
    return -less(first, second)


def alpha063(m: Market) -> Floats:
    first = rank(decay_linear(delta(indneutralize(m.close, m.industry), 2.25164), 8.22237))
    price = _mix(m.vwap, m.open, 0.318108)
    return -(first - rank(decay_linear(correlation(price, ts_sum(m.adv(180), 37.2467), 13.557), 12.2883)))


def alpha064(m: Market) -> Floats:
    price = ts_sum(_mix(m.open, m.low, 0.178404), 12.7054)
    first = rank(correlation(price, ts_sum(m.adv(120), 12.7054), 16.6208))
    return -less(first, rank(delta(_mix(_middle(m), m.vwap, 0.178404), 3.69741)))


def alpha065(m: Market) -> Floats:
    first = rank(correlation(_mix(m.open, m.vwap, 0.00817205), ts_sum(m.adv(60), 8.6911), 6.40374))
    return -less(first, rank(m.open - ts_min(m.open, 13.635)))


def alpha066(m: Market) -> Floats:
    first = rank(decay_linear(delta(m.vwap, 3.51013), 7.23052))
    place = over(_mix(m.low, m.low, 0.96633) - m.vwap, m.open - _middle(m))
    return -(first + ts_rank(decay_linear(place, 11.4157), 6.72611))


def alpha067(m: Market) -> Floats:
    volume = indneutralize(m.adv(20), m.subindustry)
    exponent = rank(correlation(indneutralize(m.vwap, m.sector), volume, 6.02936))
    return -power(rank(m.high - ts_min(m.high, 2.14593)), exponent)


def alpha068(m: Market) -> Floats:
    first = ts_rank(correlation(rank(m.high), rank(m.adv(15)), 8.91644), 13.9333)
    return -less(first, rank(delta(_mix(m.close, m.low, 0.518371), 1.06157)))


def alpha069(m: Market) -> Floats:
    base = rank(ts_max(delta(indneutralize(m.vwap, m.industry), 2.72412), 4.79344))
    return -power(base, ts_rank(correlation(_mix(m.close, m.vwap, 0.490655), m.adv(20), 4.92416), 9.0615))


def alpha070(m: Market) -> Floats:
    exponent = ts_rank(correlation(indneutralize(m.close, m.industry), m.adv(50), 17.8256), 17.9171)
    return -power(rank(delta(m.vwap, 1.29456)), exponent)


def alpha071(m: Market) -> Floats:
    moved = correlation(ts_rank(m.close, 3.43976), ts_rank(m.adv(180), 12.0647), 18.0175)
    first = ts_rank(decay_linear(moved, 4.20501), 15.6948)
    square = power(rank((m.low + m.open) - (m.vwap + m.vwap)), 2)
    return larger(first, ts_rank(decay_linear(square, 16.4662), 4.4388))


def alpha072(m: Market) -> Floats:
    first = rank(decay_linear(correlation(_middle(m), m.adv(40), 8.93345), 10.1519))
    moved = correlation(ts_rank(m.vwap, 3.72469), ts_rank(m.volume, 18.5188), 6.86671)
    return over(first, rank(decay_linear(moved, 2.95011)))


def alpha073(m: Market) -> Floats:
    price = _mix(m.open, m.low, 0.147155)
    change = -over(delta(price, 2.03608), price)
    first = rank(decay_linear(delta(m.vwap, 4.72775), 2.91864))
    return -larger(first, ts_rank(decay_linear(change, 3.33829), 16.7411))


def alpha074(m: Market) -> Floats:
    first = rank(correlation(m.close, ts_sum(m.adv(30), 37.4843), 15.1365))
    return -less(first, rank(correlation(rank(_mix(m.high, m.vwap, 0.0261661)), rank(m.volume), 11.4791)))


def alpha075(m: Market) -> Floats:
    first = rank(correlation(m.vwap, m.volume, 4.24304))
    return less(first, rank(correlation(rank(m.low), rank(m.adv(50)), 12.4413)))


def alpha076(m: Market) -> Floats:
    first = rank(decay_linear(delta(m.vwap, 1.24383), 11.8259))
    moved = ts_rank(correlation(indneutralize(m.low, m.sector), m.adv(81), 8.14941), 19.569)
    return -larger(first, ts_rank(decay_linear(moved, 17.1543), 19.383))


def alpha077(m: Market) -> Floats:
    first = rank(decay_linear(_middle(m) + m.high - (m.vwap + m.high), 20.0451))
    return smaller(first, rank(decay_linear(correlation(_middle(m), m.adv(40), 3.1614), 5.64125)))


def alpha078(m: Market) -> Floats:
    price = ts_sum(_mix(m.low, m.vwap, 0.352233), 19.7428)
    base = rank(correlation(price, ts_sum(m.adv(40), 19.7428), 6.83313))
    return power(base, rank(correlation(rank(m.vwap), rank(m.volume), 5.77492)))


def alpha079(m: Market) -> Floats:
    first = rank(delta(indneutralize(_mix(m.close, m.open, 0.60733), m.sector), 1.23438))
    return less(first, rank(correlation(ts_rank(m.vwap, 3.60973), ts_rank(m.adv(150), 9.18637), 14.6644)))


def alpha080(m: Market) -> Floats:
    base = rank(np.sign(delta(indneutralize(_mix(m.open, m.high, 0.868128), m.industry), 4.04545)))
    return -power(base, ts_rank(correlation(m.high, m.adv(10), 5.11456), 5.53756))


def alpha081(m: Market) -> Floats:
    fourth = power(rank(correlation(m.vwap, ts_sum(m.adv(10), 49.6054), 8.47743)), 4)
    first = rank(log(product(rank(fourth), 14.9655)))
    return -less(first, rank(correlation(rank(m.vwap), rank(m.volume), 5.07914)))


def alpha082(m: Market) -> Floats:
    first = rank(decay_linear(delta(m.open, 1.46063), 14.8717))
    moved = correlation(indneutralize(m.volume, m.sector), _mix(m.open, m.open, 0.634196), 17.4842)
    return -smaller(first, ts_rank(decay_linear(moved, 6.92131), 13.4283))


def alpha083(m: Market) -> Floats:
    width = over(m.high - m.low, ts_sum(m.close, 5) / 5)
    return over(rank(delay(width, 2)) * rank(rank(m.volume)), over(width, m.vwap - m.close))


def alpha084(m: Market) -> Floats:
    return signedpower(ts_rank(m.vwap - ts_max(m.vwap, 15.3217), 20.7127), delta(m.close, 4.96796))


def alpha085(m: Market) -> Floats:
    base = rank(correlation(_mix(m.high, m.close, 0.876703), m.adv(30), 9.61331))
    moved = correlation(ts_rank(_middle(m), 3.70596), ts_rank(m.volume, 10.1595), 7.11408)
    return power(base, rank(moved))


def alpha086(m: Market) -> Floats:
    first = ts_rank(correlation(m.close, ts_sum(m.adv(20), 14.7444), 6.00049), 20.4195)
    return -less(first, rank((m.open + m.close) - (m.vwap + m.open)))


def alpha087(m: Market) -> Floats:
    first = rank(decay_linear(delta(_mix(m.close, m.vwap, 0.369701), 1.91233), 2.65461))
    moved = np.abs(correlation(indneutralize(m.adv(81), m.industry), m.close, 13.4132))
    return -larger(first, ts_rank(decay_linear(moved, 4.89768), 14.4535))


def alpha088(m: Market) -> Floats:
    first = rank(decay_linear((rank(m.open) + rank(m.low)) - (rank(m.high) + rank(m.close)), 8.06882))
    moved = correlation(ts_rank(m.close, 8.44728), ts_rank(m.adv(60), 20.6966), 8.01266)
    return smaller(first, ts_rank(decay_linear(moved, 6.65053), 2.61957))


def alpha089(m: Market) -> Floats:
    moved = correlation(_mix(m.low, m.low, 0.967285), m.adv(10), 6.94279)
    change = delta(indneutralize(m.vwap, m.industry), 3.48158)
    return ts_rank(decay_linear(moved, 5.51607), 3.79744) - ts_rank(decay_linear(change, 10.1466), 15.3012)


def alpha090(m: Market) -> Floats:
    exponent = ts_rank(correlation(indneutralize(m.adv(40), m.subindustry), m.low, 5.38375), 3.21856)
    return -power(rank(m.close - ts_max(m.close, 4.66719)), exponent)


def alpha091(m: Market) -> Floats:
    moved = correlation(indneutralize(m.close, m.industry), m.volume, 9.74928)
    first = ts_rank(decay_linear(decay_linear(moved, 16.398), 3.83219), 4.8667)
    return -(first - rank(decay_linear(correlation(m.vwap, m.adv(30), 4.01303), 2.6809)))


def alpha092(m: Market) -> Floats:
    first = ts_rank(decay_linear(less(_middle(m) + m.close, m.low + m.open), 14.7221), 18.8683)
    moved = correlation(rank(m.low), rank(m.adv(30)), 7.58555)
    return smaller(first, ts_rank(decay_linear(moved, 6.94024), 6.80584))


def alpha093(m: Market) -> Floats:
    moved = correlation(indneutralize(m.vwap, m.industry), m.adv(81), 17.4193)
    change = delta(_mix(m.close, m.vwap, 0.524434), 2.77377)
    return over(ts_rank(decay_linear(moved, 19.848), 7.54455), rank(decay_linear(change, 16.2664)))


def alpha094(m: Market) -> Floats:
    moved = correlation(ts_rank(m.vwap, 19.6462), ts_rank(m.adv(60), 4.02992), 18.0926)
    return -power(rank(m.vwap - ts_min(m.vwap, 11.5783)), ts_rank(moved, 2.70756))


def alpha095(m: Market) -> Floats:
    moved = correlation(ts_sum(_middle(m), 19.1351), ts_sum(m.adv(40), 19.1351), 12.8742)
    return less(rank(m.open - ts_min(m.open, 12.4105)), ts_rank(power(rank(moved), 5), 11.7584))


def alpha096(m: Market) -> Floats:
    first = ts_rank(decay_linear(correlation(rank(m.vwap), rank(m.volume), 3.83878), 4.16783), 8.38151)
    moved = ts_argmax(correlation(ts_rank(m.close, 7.45404), ts_rank(m.adv(60), 4.13242), 3.65459), 12.6556)
    return -larger(first, ts_rank(decay_linear(moved, 14.0365), 13.4143))


def alpha097(m: Market) -> Floats:
    price = indneutralize(_mix(m.low, m.vwap, 0.721001), m.industry)
    first = rank(decay_linear(delta(price, 3.3705), 20.4523))
    moved = correlation(ts_rank(m.low, 7.87871), ts_rank(m.adv(60), 17.255), 4.97547)
    return -(first - ts_rank(decay_linear(ts_rank(moved, 18.5925), 15.7152), 6.71659))


def alpha098(m: Market) -> Floats:
    first = rank(decay_linear(correlation(m.vwap, ts_sum(m.adv(5), 26.4719), 4.58418), 7.18088))
    day = ts_argmin(correlation(rank(m.open), rank(m.adv(15)), 20.8187), 8.62571)
    return first - rank(decay_linear(ts_rank(day, 6.95668), 8.07206))


def alpha099(m: Market) -> Floats:
    first = rank(correlation(ts_sum(_middle(m), 19.8975), ts_sum(m.adv(60), 19.8975), 8.8136))
    return -less(first, rank(correlation(m.low, m.volume, 6.28259)))


def alpha100(m: Market) -> Floats:
    first = 1.5 * scale(indneutralize(indneutralize(rank(_pressure(m)), m.subindustry), m.subindustry))
    moved = correlation(m.close, rank(m.adv(20)), 5) - rank(ts_argmin(m.close, 30))
    return 0 - (first - scale(indneutralize(moved, m.subindustry))) * over(m.volume, m.adv(20))


def alpha101(m: Market) -> Floats:
    return over(m.close - m.open, (m.high - m.low) + 0.001)


SECOND = {name: made for name, made in list(globals().items()) if name.startswith("alpha")}
"""Name -> formula."""
