"""alphalens-reloaded and Qlib's calc_ic on the same cells, made and real: 1e-12 where the definitions agree.

They agree on IC, rank IC, quantile means, turnover, rank autocorrelation and the line of alpha and beta, where no value
is tied or missing, quantiles divide the names, and one horizon stands alone. `aligned`, `ranked`, `quantiles` and
`steps` say where ours are others, and why.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import pandas as pd
import pytest
from factor_evaluation.measures import cross_sections, evaluate_factor, factor_rows

from .cases import clock, names, rough

NAN = np.nan
BARS = 200
"""alphalens ranks bar by bar in Python."""

NO_ALPHALENS = 'alphalens is not installed: pip install --no-deps -r "Factor Evaluation/requirements-no-deps.txt"'


@pytest.fixture(params=["made", "real"])
def market(request):
    """Return open times, symbols, prices [T, S] and a factor without ties: 200 bars of 4h, no cell missing."""
    if request.param == "made":
        draw = np.random.default_rng(1)
        close = 100 * np.cumprod(1 + 0.01 * draw.standard_normal((BARS + 30, 20)), axis=0)
        stamps, symbols = clock(BARS + 30), names(20)
    else:
        frames = {
            path.name.split(".")[0]: pd.read_csv(path)
            for path in sorted((request.getfixturevalue("real_data") / "um_futures").glob("*/4h/*.csv.gz"))
        }
        wide = pd.DataFrame({
            symbol: pd.Series(frame["open"].to_numpy(), pd.to_datetime(frame["open_time"], utc=True, unit=units(frame)))
            for symbol, frame in frames.items()
        }).dropna().iloc[-BARS - 31 : -1]  # fmt: skip
        assert wide.shape == (BARS + 30, 40)
        assert (np.diff(wide.index) == np.timedelta64(4, "h")).all()
        stamps = wide.index.tz_localize(None).to_numpy().astype("datetime64[ns]")
        close, symbols = wide.to_numpy(), tuple(wide.columns)
    factor = close[18:] / close[:-18] - 1
    return stamps[18:], symbols, close[18:], factor


def units(frame):
    return None if frame["open_time"].dtype == object else "ms"


def label_of(prices, bars):
    label = np.full(prices.shape, NAN)
    label[:-bars] = prices[bars:] / prices[:-bars] - 1
    return label


@pytest.mark.parametrize("bars", [1, 6])
def test_alphalens_reloaded_agrees(market, bars):
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        pytest.skip("alphalens begins with Python 3.11, and IPython, which it imports, is here up to 3.12")
    performance = pytest.importorskip("alphalens.performance", reason=NO_ALPHALENS)
    utils = pytest.importorskip("alphalens.utils")
    stamps, symbols, prices, factor = market
    index = pd.DatetimeIndex(stamps, tz="UTC")
    long = pd.DataFrame(factor, index, list(symbols)).stack()
    long.index = long.index.set_names(["date", "asset"])
    tidy = utils.get_clean_factor_and_forward_returns(
        long, pd.DataFrame(prices, index, list(symbols)), quantiles=5, periods=(bars,)
    )
    (period,) = utils.get_forward_returns_columns(tidy.columns)
    whole = len(stamps) - bars
    made = evaluate_factor(
        factor[:whole], stamps[:whole], symbols, labels={"h": label_of(prices, bars)[:whole]}, horizons={"h": bars}
    )
    result = made.horizons["h"]
    rank_ic = performance.factor_information_coefficient(tidy)[period].to_numpy()
    np.testing.assert_allclose(result.rank_ic, rank_ic, rtol=0, atol=1e-12)
    means, _ = performance.mean_return_by_quantile(tidy, demeaned=False)
    np.testing.assert_allclose(result.quantile_mean, means[period].to_numpy(), rtol=0, atol=1e-12)
    autocorrelation = performance.factor_rank_autocorrelation(tidy, 1).to_numpy()
    np.testing.assert_allclose(made.rank_autocorrelation_by_bar, autocorrelation, rtol=0, atol=1e-12)
    for q in range(5):
        turnover = performance.quantile_turnover(tidy["factor_quantile"], q + 1, 1).mean()
        assert made.turnover[q] == pytest.approx(turnover, abs=1e-12)
    lines = performance.factor_alpha_beta(tidy)[period]
    assert result.beta == pytest.approx(lines["beta"], abs=1e-12)
    # both compound the bar's alpha over a year: 365 days here, 252 there
    hours = 4 * bars
    ours, theirs = (math.log1p(alpha) for alpha in (result.alpha, lines["Ann. alpha"]))
    assert ours / (365 * 24 / hours) == pytest.approx(theirs / (252 * 24 / hours), abs=1e-12)


@pytest.mark.parametrize("bars", [1, 6])
def test_qlib_calc_ic_agrees(market, bars):
    stamps, symbols, prices, factor = market
    agree_with_calc_ic(factor, label_of(prices, bars), stamps, symbols)


def test_qlib_calc_ic_agrees_where_values_are_missing():
    factor, label = rough(6, 80, 20, ties=False)
    factor[~np.isfinite(factor)] = NAN
    label[~np.isfinite(label)] = NAN
    agree_with_calc_ic(factor, label, clock(80), names(20))


def agree_with_calc_ic(factor, label, stamps, symbols):
    alpha = pytest.importorskip("qlib.contrib.eva.alpha")
    (series,) = cross_sections(factor, factor_rows(factor, 5), [label])
    index = pd.MultiIndex.from_product([stamps, symbols], names=["datetime", "instrument"])
    ic, rank_ic = alpha.calc_ic(pd.Series(factor.ravel(), index), pd.Series(label.ravel(), index))
    np.testing.assert_allclose(series.ic, ic.to_numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(series.rank_ic, rank_ic.to_numpy(), rtol=0, atol=1e-12)
