"""The OVERLAYS table, and overlays from their text ``name:key=value,key=value``.

An overlay is a rule that changes what a strategy asks for, whatever the strategy. Several may be combined, each once;
they apply in the order of the table, whatever the order in which they were named.

Exits (`exits.py`) look at every bar's close, rebalance or not:

- What they see is known at that close; the exit fills at the next open, like any order, and its `reason` in orders.csv
  is the overlay's name. An exit that could not be filled is sent again at every close until it is.
- The reference of stop-loss and take-profit is the position's average fill price. A trailing stop starts from the price
  of the fill that opened the position and follows its best close; a change of size leaves that as it is, closing and
  reversing begin anew. Shorts are mirrored. A bar on which the symbol cannot be traded moves no reference and fires
  nothing.
- At the close that fires an exit the symbol's target weight is 0, also at a rebalance, and so it is until `cooldown`
  more closes are over. Its weight is not given to others: it stays cash.
- The drawdown stop does this to all positions at once.

Weight rules (`limits.py`) see the target weights of a rebalance:

- A weight of NaN leaves a position alone, and so do they; it counts with its current weight, as does what cannot be
  traded. A FLIP counts as minus the current weight, and becomes that number times the factor where one applies.
- Those behind the volatility target only shrink weights, so that all caps hold together, as far as the movable weights
  can bring it about. The turnover cap is the last: where the current weights are beyond another cap, it may take
  several rebalances to come back under that.
- Between rebalances prices move the weights, and nothing is traded for that.

When equity reaches zero the run is closed with reason ``ruin`` and no overlay applies any more; settlements of delisted
holdings come first as well.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from ..errors import RunError, SettingsError, did_you_mean
from ..strategies.table import value_of_text
from .exits import AccountRule, DrawdownStop, PositionRule, StopLoss, TakeProfit, TrailingStop
from .limits import MaxGross, MaxNet, MaxPosition, MaxTurnover, VolTarget, WeightRule

Overlay = PositionRule | AccountRule | WeightRule

OVERLAYS: dict[str, type[Any]] = {
    "stop_loss": StopLoss,
    "take_profit": TakeProfit,
    "trailing_stop": TrailingStop,
    "drawdown_stop": DrawdownStop,
    "vol_target": VolTarget,
    "max_position": MaxPosition,
    "max_gross": MaxGross,
    "max_net": MaxNet,
    "max_turnover": MaxTurnover,
}
NOTHING = "none"
"""Alone in the list: no overlays, whatever the settings say."""


def name_of(overlay: Overlay) -> str:
    """Return the name of an overlay in the table."""
    return next(name for name, kind in OVERLAYS.items() if type(overlay) is kind)


def text_of(overlay: Overlay) -> str:
    """Return an overlay as the text that makes it, every parameter included."""
    values = {field.name: getattr(overlay, field.name) for field in fields(overlay)}  # type: ignore[arg-type]
    words = [f"{key}={'none' if value is None else value}" for key, value in values.items()]
    return f"{name_of(overlay)}:{','.join(words)}"


def parse_overlays(texts: Sequence[str]) -> tuple[Overlay, ...]:
    """Return the overlays of ``name:key=value,key=value`` texts, in the order of the table.

    Raises
    ------
    SettingsError
        An unknown overlay or parameter, a value that is not allowed, or an overlay that is named twice.
    """
    if [text.strip() for text in texts] == [NOTHING]:
        return ()
    found: dict[str, Overlay] = {}
    for text in texts:
        name, _, words = text.partition(":")
        name = name.strip()
        if name not in OVERLAYS:
            near = did_you_mean(name, OVERLAYS) or ";"
            raise SettingsError(f"overlay {text!r}: {name!r} is not known{near} allowed: {', '.join(OVERLAYS)}")
        if name in found:
            raise SettingsError(f"overlay {name} is given twice: {text_of(found[name])} and {text}")
        found[name] = overlay_of(name, text, words)
    return tuple(found[name] for name in OVERLAYS if name in found)


def overlay_of(name: str, text: str, words: str) -> Overlay:
    """Return one overlay from its ``key=value`` words."""
    kind, where = OVERLAYS[name], f"overlay {text!r}"
    allowed = {field.name: typing.get_type_hints(kind)[field.name] for field in fields(kind)}
    values: dict[str, Any] = {}
    for word in filter(None, (word.strip() for word in words.split(","))):
        key, equals, value = (part.strip() for part in word.partition("="))
        if not equals:
            raise SettingsError(f"{where}: {word!r}; key=value is allowed, the keys are {', '.join(allowed)}")
        if key in values:
            raise SettingsError(f"{where}: {key} is given twice")
        values[key] = value_of_text(where, key, value, allowed)
    for field in fields(kind):
        if field.default is MISSING and field.name not in values:
            raise SettingsError(f"{where} needs {field.name}: {name}:{field.name}=NUMBER")
    try:
        return kind(**values)  # type: ignore[no-any-return]
    except RunError as error:
        raise SettingsError(f"{where}: {error}") from None
