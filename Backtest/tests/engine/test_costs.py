"""Costs: from the settings, from an instruments file, and what is refused."""

from __future__ import annotations

import math

import pytest

from Backtest.engine.costs import Instrument, costs_from, load_instruments
from Backtest.errors import FactorError, SettingsError
from Backtest.settings import CoreSettings
from Backtest.tests.engine.market import costs


def test_costs_come_from_the_settings():
    settings = CoreSettings(commission=0.0005, slippage=0.002, lot_step=0.01, on_rejected="scale")
    found = costs_from(settings, {"A": Instrument(lot_step=1.0)})
    assert (found.commission, found.slippage, found.on_rejected, found.min_notional) == (0.0005, 0.002, "scale", 5.0)
    assert (found.lot_step_of("A"), found.lot_step_of("B")) == (1.0, 0.01)
    assert found.min_notional_of("A") == 5.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"commission": -0.1}, {"commission": math.nan}, {"slippage": 1.0}, {"slippage": math.inf}, {"lot_step": 0.0},
        {"lot_step": math.nan}, {"min_notional": -1.0}, {"no_trade_band": math.nan}, {"delisting_haircut": 1.5},
    ],
)  # fmt: skip
def test_unsound_costs_are_refused(wrong):
    with pytest.raises(SettingsError):
        costs(**wrong)


def test_on_rejected_is_count_or_scale():
    with pytest.raises(SettingsError, match="on_rejected is 'scaled'; did you mean 'scale'"):
        costs(on_rejected="scaled")
    with pytest.raises(SettingsError, match="on_rejected is 'qqq'; allowed: count, scale"):
        costs(on_rejected="qqq")


def test_instruments_file(tmp_path):
    path = tmp_path / "instruments.yaml"
    path.write_text("BTCUSDT: {lot_step: 0.00001, min_notional: 5}\nDOGEUSDT: {lot_step: 1}\n", encoding="utf-8")
    assert load_instruments(path) == {
        "BTCUSDT": Instrument(lot_step=0.00001, min_notional=5.0),
        "DOGEUSDT": Instrument(lot_step=1.0),
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ("A: 5\n", "A is 5"),
        ("A: {lot: 1}\n", "'lot' is not a setting"),
        ("A: {lot_step: 0}\n", "lot_step is 0.0"),
        ("A: {min_notional: -1}\n", "min_notional is -1.0"),
        ("A: {lot_step: small}\n", "lot_step is 'small'"),
    ],
)
def test_a_wrong_instruments_file_is_refused(tmp_path, text, message):
    path = tmp_path / "instruments.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FactorError) as caught:
        load_instruments(path)
    assert message in str(caught.value)
