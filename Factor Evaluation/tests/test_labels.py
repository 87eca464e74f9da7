"""Forward returns by hand: which two prices, and when there is none."""

from __future__ import annotations

import numpy as np
import pytest
from factor_evaluation.labels import forward_return, label_name, parse_horizons

from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import SettingsError

OPENS = np.array([[10.0], [20.0], [40.0], [50.0], [25.0], [100.0]])
AGE = np.arange(1, 7, dtype=np.int32)[:, None]
NAN = np.nan


def column(values):
    return np.array(values, dtype=float)[:, None]


def test_open_to_open_begins_at_the_next_bar():
    """Bought at open[t+1], sold at open[t+1+h]: 40/20 - 1, 50/40 - 1, 25/50 - 1, 100/25 - 1."""
    expected = column([1.0, 0.25, -0.5, 3.0, NAN, NAN])
    np.testing.assert_array_equal(forward_return(OPENS, AGE, 1), expected)
    np.testing.assert_array_equal(forward_return(OPENS, AGE, 3), column([0.25, 1.5, NAN, NAN, NAN, NAN]))


def test_close_to_close_begins_at_the_bar_itself():
    expected = column([1.0, 1.0, 0.25, -0.5, 3.0, NAN])
    np.testing.assert_array_equal(forward_return(OPENS, AGE, 1, kind="close"), expected)


def test_nothing_reaches_across_an_episode():
    """Rows 0 to 2 are one listing, row 3 is silent beyond doubt, rows 4 and 5 are another listing."""
    age = np.array([1, 2, 3, 0, 1, 2], dtype=np.int32)[:, None]
    np.testing.assert_array_equal(forward_return(OPENS, age, 1), column([1.0, NAN, NAN, NAN, NAN, NAN]))
    np.testing.assert_array_equal(forward_return(OPENS, age, 1, kind="close"), column([1, 1, NAN, NAN, 3, NAN]))


def test_a_missing_price_is_not_filled():
    prices = OPENS.copy()
    prices[2] = NAN
    np.testing.assert_array_equal(forward_return(prices, AGE, 1), column([NAN, NAN, -0.5, 3.0, NAN, NAN]))


def test_a_horizon_beyond_the_data_is_missing_everywhere():
    assert np.isnan(forward_return(OPENS, AGE, 6)).all()
    assert np.isnan(forward_return(OPENS, AGE, 1_000_000)).all()


def test_overflow_is_missing():
    prices = column([1, 1e-308, 1e308, 1, 1, 1])
    assert np.isnan(forward_return(prices, AGE, 1)[0, 0])


def test_horizons_are_bars_or_durations():
    five = parse_timeframe("5min")
    assert parse_horizons(["5,15", "1h"], five) == {"5": 5, "15": 15, "1h": 12}
    assert (label_name("open", 12), label_name("close", 12)) == ("label_12", "label_close_12")


@pytest.mark.parametrize(
    "words, message",
    [
        (["7min"], "horizon '7min' is no whole number of 5min bars"),
        (["0"], "horizon '0' is 0 bars; allowed are 1 to 1,000,000"),
        (["2000000"], "allowed are 1 to"),
        (["1h,12"], "horizons '1h' and '12' are both 12 bars; name one"),
        (["-5"], "horizon '-5' is not known"),
        (["", ","], "no horizon is given"),
    ],
)
def test_what_is_no_horizon_is_refused(words, message):
    with pytest.raises(SettingsError, match=message):
        parse_horizons(words, parse_timeframe("5min"))
