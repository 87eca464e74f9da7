"""The dialects by name: one row each."""

from __future__ import annotations

from .alpha101 import ALPHA101
from .interface import DEFAULT, Dialect
from .qlib import QLIB

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (DEFAULT, QLIB, ALPHA101)}
