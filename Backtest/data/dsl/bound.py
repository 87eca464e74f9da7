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
        ``series``, ``mask`` and ``group`` are steps, ``number`` and ``word`` are known now; ``external`` is a name that
        becomes a series with a delay.
    value
        Step number, number, word or name.
    offset
        Where it was written.
    literal
        A number as written or from a param, not computed.
    """

    kind: Literal["series", "mask", "group", "number", "word", "external"]
    value: int | float | str
    offset: int
    literal: bool = False

    @property
    def words(self) -> str:
        """What it is, for messages."""
        if self.kind == "number":
            return f"the number {self.value!r}"
        if self.kind == "external":
            return f"the external series {self.value!r}"
        return f"the word {self.value!r}" if self.kind == "word" else f"a {self.kind}"
