"""Progress bars: on a terminal only, on stderr, gone when the work is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")


@contextmanager
def progress(total: int, unit: str) -> Iterator[Callable[[int], Any]]:
    """Yield what to call with how many are done; a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, file=sys.stderr, leave=False) as bar:
        yield bar.update


def counted(items: Collection[Item], unit: str = "symbol") -> Iterator[Item]:
    """Yield the items, with a bar on a terminal."""
    with progress(len(items), unit) as advance:
        for item in items:
            yield item
            advance(1)
