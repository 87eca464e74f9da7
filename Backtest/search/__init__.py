"""Many runs of one strategy with different parameters."""

from .trials import Sweep, sweep

__all__ = ["Sweep", "sweep"]
