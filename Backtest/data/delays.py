"""Publication delays such as ``"1d"``, and the panel fields that external series become with one."""

from __future__ import annotations

import re

from ..errors import SettingsError
from .timeframe import SECOND_NS, UNITS, parse_duration

LARGEST = (("w", 7 * 86_400), ("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
ZERO = re.compile(r"0+([A-Za-z]+)", re.ASCII)
NEGATIVE = re.compile(r"-\s*[0-9]+[A-Za-z]+", re.ASCII)
FIELD = re.compile(r'asof\(([A-Za-z_][A-Za-z0-9_]*), "([0-9]+[a-z]+)"\)', re.ASCII)


def parse_delay(text: str, name: str = "lag") -> int:
    """Return a delay such as ``1d``, ``90min`` or ``0h`` in nanoseconds; one below zero is named look-ahead."""
    zero = ZERO.fullmatch(text.strip())
    if zero and zero[1].lower() in UNITS and zero[1] != "M":
        return 0
    if NEGATIVE.fullmatch(text.strip()):
        raise SettingsError(f'{name} {text[:80]!r} is look-ahead; it must be "0h" or longer')
    return parse_duration(text, name)


def delay_words(delay_ns: int) -> str:
    """Return a delay in its largest whole unit: ``1d`` for 24 hours, ``0h`` for none."""
    seconds = delay_ns // SECOND_NS
    unit, length = next(((unit, length) for unit, length in LARGEST if seconds and seconds % length == 0), ("h", 1))
    return f"{seconds // length}{unit}"


def asof_field(name: str, delay_ns: int) -> str:
    """Return the name of the panel field that an external series is with a delay; one delay has one name."""
    return f'asof({name}, "{delay_words(delay_ns)}")'


def asof_parts(field: str) -> tuple[str, int] | None:
    """Return the external series and the delay that a panel field stands for, None where it stands for none."""
    match = FIELD.fullmatch(field)
    return (match[1], parse_delay(match[2])) if match else None
