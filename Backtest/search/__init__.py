"""Many runs of one strategy with different parameters."""

from pathlib import Path

from ..machine_code import remove_outdated

STANDS_ON = ("engine/numba", "engine/volatility.py", "portfolio/exits.py", "data/timeframe.py", "metrics.py")
"""What compiled functions call or take constants from, outside this package."""
remove_outdated(Path(__file__).parent, *(Path(__file__).parents[1] / path for path in STANDS_ON))

from .trials import Sweep, sweep  # noqa: E402  (what it decorates asks for the folder of the machine code)

__all__ = ["Sweep", "sweep"]
