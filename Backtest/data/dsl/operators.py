"""THE operator table. To add an operator: a kernel, a row in its family's module, its twin in ``tests/reference.py``.

Everything else is read from the rows: the parser's type rules, look-back, error messages, ``--list-operators`` and the
laws that the tests hold every row to. Importing this module compiles nothing.
"""

from __future__ import annotations

from ..kernels.context import Context, Operand
from .rows_coarse import BARS
from .rows_cross import ACROSS
from .rows_elementwise import ELEMENTWISE, INFIX
from .rows_group import GROUPED
from .rows_joined import JOINED
from .rows_market import MARKET
from .rows_named import NAMED
from .rows_qlib import QLIB
from .rows_recursive import RECURSIVE
from .rows_time import ALONG_TIME, PAIRED
from .signature import Argument, Literals, Operator, apply, constant

__all__ = [
    "ALIASES",
    "APART",
    "LISTED",
    "OPERATORS",
    "Argument",
    "Context",
    "Literals",
    "Operand",
    "Operator",
    "apply",
    "constant",
]

_ROWS = (
    *INFIX, *ELEMENTWISE, *ALONG_TIME, *PAIRED, *RECURSIVE, *ACROSS, *GROUPED, *NAMED, *MARKET, *JOINED, *QLIB,
)  # fmt: skip
OPERATORS: dict[str, Operator] = {row.name: row for row in _ROWS}
"""Every operator by name, those that exist for a dialect only among them."""

LISTED: dict[str, Operator] = {row.name: row for row in _ROWS if not row.dialect}
"""The operators of the default dialect."""

APART: dict[str, Operator] = {BARS.name: BARS}
"""Operators of the default dialect that the binder resolves itself: no kernel takes the run's bars for them."""

ALIASES: dict[str, str] = {alias: row.name for row in OPERATORS.values() for alias in row.aliases}
"""Other names -> name."""
