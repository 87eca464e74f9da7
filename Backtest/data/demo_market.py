"""Writes the demo market: simulated klines in the layout of a user's data root, marked as synthetic.

``python -m Backtest.data.demo_market --root DIR [--seed N] [--overwrite]``

1. Refuse a folder that holds anything but a demo market (`_check_root`).
2. Write the marker `SYNTHETIC.txt` with ``state: writing``: from its first moment the folder says what it is.
3. Simulate and write the klines, one symbol at a time, each file atomically (`kline_text`).
4. Write the marker again with ``state: complete``: a market without it was interrupted, and is written anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..cli import OneLineParser, run_command
from ..errors import DataError, SettingsError
from ..files import TEMPORARY, json_text, sweep, write_text
from ..settings import PROJECT_ROOT, CoreSettings, resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .demo_simulation import Listing

MARKER = "SYNTHETIC.txt"
VERSION = 1
"""Of the simulator: another number, other bytes for the same seed."""
SEED = 7
TIMEFRAME = "1h"

STATEMENT = """\
SYNTHETIC MARKET DATA: simulated, not real.
Every price and volume in this folder was made by a random number generator, whatever coin a file is named after.
A momentum effect is built in on purpose (Backtest/data/demo_simulation.py says which). No result that was computed
from these files is evidence about any market or any strategy.
"""


def write_demo_market(root: Path, *, seed: int = SEED, overwrite: bool = False) -> bool:
    """Write 12 symbols, two years of 1h bars, below `root`; the bytes depend on the seed only.

    Parameters
    ----------
    root
        The data root to make.
    seed
        0 or more.
    overwrite
        Replace a demo market of another seed or version.

    Returns
    -------
    False where this very market is there already (nothing is written), else True.

    Raises
    ------
    DataError
        `root` holds other files, or another demo market and `overwrite` is False.
    SettingsError
        `seed` is negative.
    """
    if seed < 0:
        raise SettingsError(f"seed is {seed}; allowed is 0 or more")
    from .demo_simulation import LISTINGS, simulate_market, simulate_symbol

    folder = root / CoreSettings.klines_folder / TIMEFRAME
    paths = {listing: folder / f"{listing.symbol}.csv" for listing in LISTINGS}
    if _check_root(root, seed, overwrite) and all(path.is_file() for path in paths.values()) and not overwrite:
        return False
    root.mkdir(parents=True, exist_ok=True)
    sweep(root)
    write_text(root / MARKER, marker_text(seed, "writing"))
    folder.mkdir(parents=True, exist_ok=True)
    market = simulate_market(seed)
    for listing, path in paths.items():
        write_text(path, kline_text(listing, simulate_symbol(listing, seed, market)))
    write_text(root / MARKER, marker_text(seed, "complete"))
    return True


def is_synthetic(data_root: Path) -> bool:
    """Return whether the data root holds simulated klines, finished or not."""
    return (data_root / MARKER).is_file()


def read_marker(data_root: Path) -> dict[str, str]:
    """Return the facts below the marker's statement (``version``, ``seed``, ``state``); {} where there is none."""
    if not is_synthetic(data_root):
        return {}
    lines = (data_root / MARKER).read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [line.split(": ", 1) for line in lines[len(STATEMENT.splitlines()) :] if ": " in line]
    return dict(pairs)


def marker_text(seed: int, state: str) -> str:
    """Return the marker's content."""
    return f"{STATEMENT}\ngenerator: Backtest.data.demo_market\nversion: {VERSION}\nseed: {seed}\nstate: {state}\n"


def kline_text(listing: Listing, bars: dict[str, NDArray[np.int64]]) -> str:
    """Return a symbol's CSV from whole numbers of ticks, lots and millionths."""
    from .demo_simulation import PREMIUM_DECIMALS, QUOTE_DECIMALS
    from .schema import COLUMNS

    decimals = {
        **dict.fromkeys(("open", "high", "low", "close"), listing.decimals),
        **dict.fromkeys(("volume", "taker_buy_base_volume"), QUOTE_DECIMALS - listing.decimals),
        **dict.fromkeys(("quote_asset_volume", "taker_buy_quote_volume"), QUOTE_DECIMALS),
        **dict.fromkeys(("premium_open", "premium_high", "premium_low", "premium_close"), PREMIUM_DECIMALS),
    }
    names = [column.name for column in COLUMNS]
    row = ",".join(f"%.{decimals[name]}f" if name in decimals else "%d" for name in names) + "\n"
    # a whole number below 2**53 over a power of ten prints back exactly with that many decimals up to 15 digits
    cells = [(bars[name] / 10 ** decimals[name] if name in decimals else bars[name]).tolist() for name in names]
    return ",".join(names) + "\n" + "".join([row % values for values in zip(*cells, strict=True)])


def _check_root(root: Path, seed: int, overwrite: bool) -> bool:
    """Return whether `root` holds this very market, complete; refuse what must not be written over."""
    facts = read_marker(root)
    if not facts and root.exists():
        others = [path.name for path in sorted(root.iterdir()) if not path.name.endswith(TEMPORARY)]
        if others:
            raise DataError(f"{root} is not a demo market: it holds {others[0]!r}; choose an empty --root")
    if facts.get("state") != "complete":
        return False
    if (facts.get("seed"), facts.get("version")) == (str(seed), str(VERSION)):
        return True
    if overwrite:
        return False
    found = f"seed {facts.get('seed')}, version {facts.get('version')}"
    raise DataError(f"{root} holds another demo market ({found}); add --overwrite or choose another --root")


def command(arguments: argparse.Namespace) -> int:
    """Write the market and print one JSON object."""
    root = resolve(arguments.root, Path.cwd())
    written = write_demo_market(root, seed=arguments.seed, overwrite=arguments.overwrite)
    from .demo_simulation import LISTINGS

    summary = {
        "status": "written" if written else "unchanged",
        "synthetic": True,
        "data_root": str(root),
        "timeframe": TIMEFRAME,
        "symbols": [listing.symbol for listing in LISTINGS],
        "seed": arguments.seed,
    }
    sys.stdout.write(json_text(summary))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = OneLineParser(
        prog="python -m Backtest.data.demo_market",
        description="Write a simulated market (12 symbols, 2 years of 1h bars) in the layout of a data root.",
    )
    default = PROJECT_ROOT / CoreSettings.data_root
    parser.add_argument("--root", type=Path, default=default, help="data root to make (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed, another market (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace a demo market that is there")
    return run_command(command, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
