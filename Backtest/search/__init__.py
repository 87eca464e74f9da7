"""Many runs of one strategy with different parameters."""

from pathlib import Path

from ..machine_code import remove_outdated

remove_outdated(Path(__file__).parent, Path(__file__).parents[1] / "engine" / "numba")

from .trials import Sweep, sweep  # noqa: E402  (what it decorates asks for the folder of the machine code)

__all__ = ["Sweep", "sweep"]
