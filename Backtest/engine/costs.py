"""What trading costs and how small an order may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from ..settings import CoreSettings

ON_REJECTED = ("count", "scale")


@dataclass(frozen=True)
class Instrument:
    """Limits of one symbol; None takes the setting for all.

    Attributes
    ----------
    lot_step
        Smallest size step, base units.
    min_notional
        Smallest order value, quote currency.
    leverage
        Of futures: notional per margin.
    """

    lot_step: float | None = None
    min_notional: float | None = None
    leverage: float | None = None


@dataclass(frozen=True)
class Costs:
    """Costs and order limits of a run. The defaults stand in CoreSettings.

    Attributes
    ----------
    commission
        Fraction of the traded value, on the price after slippage.
    slippage
        Fraction of the open by which a fill is worse: open * (1 + slippage) bought, open * (1 - slippage) sold.
    slippage_capped
        True caps the slipped price at the bar's high and low (Backtrader's habit: a buy that opens at the high pays
        none); False does not.
    lot_step
        Sizes are whole multiples of it, rounded toward zero; base units.
    min_notional
        An order worth less (at the close that decided it) is not sent; quote currency. Settlements always are.
    no_trade_band
        A target weight closer than this to the current weight leaves the position alone; closing is exempt.
    on_rejected
        ``count``: an order that the cash does not cover is rejected and counted. ``scale``: at the decision all
        opening buys are shrunk by one factor until the cash covers them.
    delisting_haircut
        A dead holding is settled at its last close times (1 - delisting_haircut).
    instruments
        Limits of single symbols.
    """

    commission: float
    slippage: float
    slippage_capped: bool
    lot_step: float
    min_notional: float
    no_trade_band: float
    on_rejected: str
    delisting_haircut: float
    instruments: Mapping[str, Instrument] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("commission", "slippage", "no_trade_band", "delisting_haircut", "min_notional"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise SettingsError(f"{name} is {value!r}; a number from 0 up is allowed")
        if not self.slippage < 1 or not self.commission < 1 or not self.delisting_haircut <= 1:
            raise SettingsError("commission, slippage and delisting_haircut are fractions below 1")
        if not (math.isfinite(self.lot_step) and self.lot_step > 0):
            raise SettingsError(f"lot_step is {self.lot_step!r}; a positive number is allowed")
        if self.on_rejected not in ON_REJECTED:
            near = did_you_mean(str(self.on_rejected), ON_REJECTED) or ";"
            raise SettingsError(f"on_rejected is {self.on_rejected!r}{near} allowed: {', '.join(ON_REJECTED)}")

    def lot_step_of(self, symbol: str) -> float:
        """Return the size step of a symbol."""
        own = self.instruments.get(symbol, Instrument()).lot_step
        return self.lot_step if own is None else own

    def min_notional_of(self, symbol: str) -> float:
        """Return the smallest order value of a symbol."""
        own = self.instruments.get(symbol, Instrument()).min_notional
        return self.min_notional if own is None else own


def costs_from(settings: CoreSettings, instruments: Mapping[str, Instrument] | None = None) -> Costs:
    """Return the costs that the core settings state."""
    return Costs(
        commission=settings.commission,
        slippage=settings.slippage,
        slippage_capped=settings.slippage_capped,
        lot_step=settings.lot_step,
        min_notional=settings.min_notional,
        no_trade_band=settings.no_trade_band,
        on_rejected=settings.on_rejected,
        delisting_haircut=settings.delisting_haircut,
        instruments=dict(instruments or {}),
    )


def load_instruments(path: Path) -> dict[str, Instrument]:
    """Return the per-symbol limits of a yaml file ``SYMBOL: {lot_step: 0.001, min_notional: 10}``."""
    from ..settings import build, read_mapping

    loaded = {}
    for symbol, values in read_mapping(path).items():
        if not isinstance(values, dict):
            raise SettingsError(f"{path}: {symbol} is {values!r}; lot_step, min_notional and leverage are allowed")
        floats = {key: float(value) if isinstance(value, int) else value for key, value in values.items()}
        instrument = build(Instrument, floats, f"{path}: {symbol}")
        for name, low, high in (("lot_step", 1e-12, 1e12), ("min_notional", 0.0, 1e12), ("leverage", 1.0, 125.0)):
            value = getattr(instrument, name)
            if value is not None and not low <= value <= high:
                raise SettingsError(f"{path}: {symbol}: {name} is {value!r}; allowed is {low:g} to {high:g}")
        loaded[symbol] = instrument
    return loaded
