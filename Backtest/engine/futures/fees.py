"""Fees of USDT-M futures: a yaml file of dated rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import SettingsError
from ...files import sha256
from .dated import date_of, in_order, numbers_of

RATES = ("maker", "taker", "liquidation")


@dataclass(frozen=True)
class FeeRow:
    """Fees from a date on (nanoseconds since the epoch), as fractions of the traded value.

    Attributes
    ----------
    since
        From when they hold.
    maker, taker
        Of limit and of market orders; the engine sends market orders only.
    liquidation
        Of what a liquidation closes, instead of the taker fee.
    """

    since: int
    maker: float
    taker: float
    liquidation: float


@dataclass(frozen=True)
class FeeFile:
    """What a fee file holds, and its hash."""

    path: str
    sha256: str
    rows: tuple[FeeRow, ...]


def load_fees(path: Path) -> FeeFile:
    """Read a fee file; raise SettingsError in one line where it is none."""
    from ...settings import read_mapping

    if not path.is_file():
        raise SettingsError(f"{path}: there is no such fee file (setting um_fees)")
    content = read_mapping(path)
    rows = content.get("fees")
    if set(content) != {"fees"} or not isinstance(rows, list):
        raise SettingsError(f"{path}: holds {', '.join(map(str, content)) or 'nothing'}; a list named fees is allowed")
    return FeeFile(str(path), sha256(path), in_order([row_of(row, f"{path}: fees") for row in rows], f"{path}: fees"))


def row_of(row: Any, where: str) -> FeeRow:
    """Return one dated row, checked."""
    since = date_of(row, where)
    values = dict(zip(RATES, numbers_of(row, RATES, where), strict=True))
    for name, value in values.items():
        if not -0.01 <= value <= 0.5 or (name != "maker" and value < 0):
            raise SettingsError(
                f"{where}: {name} is {value!r}; a fraction from 0 to 0.5 is allowed (a maker's from -0.01)"
            )
    return FeeRow(since, **values)
