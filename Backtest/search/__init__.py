"""Many runs of one strategy with different parameters."""

from pathlib import Path

from ..machine_code import remove_outdated

ROOT = Path(__file__).parents[1]
USED = ("engine/numba", "engine/volatility.py", "portfolio/exits.py", "metrics.py", "data/timeframe.py")
remove_outdated(Path(__file__).parent, *(ROOT / used for used in USED))

from .trials import Sweep, sweep  # noqa: E402  (what it decorates asks for the folder of the machine code)

__all__ = ["Sweep", "sweep"]
