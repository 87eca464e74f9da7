"""What a part of an expression came to while its names are looked up; see `bind`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Bound:
    """What a part of an expression came to.

    Attributes
    ----------
    kind
        ``series``, ``mask`` and ``group`` are steps, ``number`` and ``word`` are known now.
    value
        Step number, number or word.
    offset
        Where it was written.
    literal
        A number as written or from a param, not computed.
    """

    kind: Literal["series", "mask", "group", "number", "word"]
    value: int | float | str
    offset: int
    literal: bool = False

    @property
    def words(self) -> str:
        """What it is, for messages."""
        if self.kind == "number":
            return f"the number {self.value!r}"
        return f"the word {self.value!r}" if self.kind == "word" else f"a {self.kind}"
