"""The slow twin of every operator: window by window, from the definitions, to be checked by eye.

Nothing here calls a kernel. A twin takes ``(operands, literals, context)`` like `apply` and returns float64 [T, B].
"""

from __future__ import annotations

from .twins import TWINS, Twin
from .twins_joined import JOINED
from .twins_market import MARKET
from .twins_more import MORE
from .twins_qlib import OF_QLIB

REFERENCE: dict[str, Twin] = {**TWINS, **MORE, **MARKET, **JOINED, **OF_QLIB}
"""Operator name -> twin."""
