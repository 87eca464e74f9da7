"""A made-up Evaluation for tests of the report: shapes and orders of magnitude of a real one, every number chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from factor_evaluation.measures.evaluation import (
    Coverage,
    Decay,
    Distribution,
    Evaluation,
    HorizonResult,
    SeriesSummary,
    Split,
    SplitPart,
)

QUANTILES = 5
TURNOVER = np.array([0.2, 0.225, 0.25, 0.275, 0.3])
EDGES = np.arange(-30, 31, 1.5) / 10


def summary(values, *, lag=0, **changes):
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return SeriesSummary(len(known), np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, lag)
    mean, std = known.mean(), known.std(ddof=1)
    error = std / np.sqrt(len(known))
    facts = SeriesSummary(
        len(known), mean, std, mean / std, mean / error, 1e-6, (known > 0).mean(), lag,
        (mean - 2 * error, mean + 2 * error),
    )  # fmt: skip
    return replace(facts, **changes)


def horizon(key, bars, rows, *, mean=0.03, cost=None, seed=0, **changes):
    random = np.random.default_rng(seed)
    ic = random.normal(mean, 0.15, rows)
    ic[-bars:] = np.nan
    steps = np.linspace(-1, 1, QUANTILES) * mean / 50
    returns = random.normal(steps, 0.01, (rows, QUANTILES))
    spread = returns[:, -1] - returns[:, 0]
    net = spread - (0.001 if cost is None else cost)
    result = HorizonResult(
        key, bars, rows * 6, {"no forward return": 6 * bars}, ic, ic, summary(ic, lag=2 * (bars - 1)),
        summary(ic, lag=2 * (bars - 1)), returns, returns.mean(0), returns.std(0) / np.sqrt(rows),
        np.cumsum(returns, 0), spread, summary(spread), np.cumsum(spread),
        np.full(rows, np.nan) if cost is None else np.cumsum(net), TURNOVER, 0.9 ** bars,
        1.0, 0.004, 0.0012, np.nan if cost is None else float(net.mean()),
    )  # fmt: skip
    return replace(result, **changes)


def part(label, bars, results):
    facts = {key: summary(result.rank_ic[:bars]) for key, result in results.items()}
    return SplitPart(label, bars, facts, facts, dict.fromkeys(results, 0.001))


def made(*, factor="momentum", rows=900, horizons=(("1", 1), ("1d", 6), ("18", 18)), mean=0.03, cost=None,
         symbols=("AAAUSDT", "BBBUSDT", "CCCUSDT"), label="calm", **changes):  # fmt: skip
    results = {key: horizon(key, bars, rows, mean=mean, cost=cost, seed=bars) for key, bars in horizons}
    stamps = np.datetime64("2024-01-30T00:00", "ns") + np.arange(rows) * np.timedelta64(4, "h")
    months = np.unique(stamps.astype("datetime64[M]"))
    split = Split("regime", tuple(part(word, rows // 2, results) for word in (label, "wild")), {"1": 1.0, "1d": 0.5})
    evaluation = Evaluation(
        factor, "4h", stamps, symbols, "cross_section", QUANTILES, cost, rows * 6, {"no forward return": 18}, results,
        TURNOVER, 0.9, np.full(rows, 0.9),
        Decay(tuple(bars for _, bars in horizons), tuple(r.rank_ic_summary.mean for r in results.values()),
              tuple(r.net_spread / r.bars for r in results.values()), 11.0, ""),
        {"regime": split}, None,
        Coverage(np.full(rows, 0.99), dict.fromkeys(symbols, 0.99), tuple(str(month) for month in months),
                 np.full((len(months), len(symbols)), 0.99), (3,) * len(months)),
        Distribution(rows * 6, 0.1, 1.2, 0.3, 2.0, {"50%": 0.1}, 12, 0, rows * 6, 0, EDGES,
                     np.arange(40, dtype=np.int64)),
    )  # fmt: skip
    return replace(evaluation, **changes)
