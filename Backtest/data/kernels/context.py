"""What a kernel is given: `data.context`, outside this package for the operator table, which compiles nothing."""

from __future__ import annotations

from ..context import Context, Floats, Kernel, Memory, Operand, Window, needed_values, needs_of, window_of

__all__ = ["Context", "Floats", "Kernel", "Memory", "Operand", "Window", "needed_values", "needs_of", "window_of"]
