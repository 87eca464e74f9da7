"""Opens a page in headless Chromium without a network, and returns what it became and what it complained about."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--enable-logging=stderr",
    "--window-size=1300,3000", "--virtual-time-budget=10000", "--proxy-server=127.0.0.1:9",
)  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """A page after its scripts ran: its DOM as HTML, and the lines of its console."""

    dom: str
    console: tuple[str, ...]


def opened(page: Path, profile: Path) -> Opened:
    """Open `page`; a machine without Chromium skips the test."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no Chromium here (looked for {', '.join(NAMES)})")
    done = subprocess.run(
        [program, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, encoding="utf-8", timeout=120, check=True,
    )  # fmt: skip
    return Opened(done.stdout, tuple(line for line in done.stderr.splitlines() if "CONSOLE" in line))
