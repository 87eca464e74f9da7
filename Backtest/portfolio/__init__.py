"""Portfolio rules that stand between a strategy and its orders."""

from .overlays import OVERLAYS, Overlay, name_of, parse_overlays, text_of

__all__ = ["OVERLAYS", "Overlay", "name_of", "parse_overlays", "text_of"]
