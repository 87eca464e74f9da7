"""Compiled array functions behind the operators."""

from pathlib import Path

from ...machine_code import remove_outdated

remove_outdated(Path(__file__).parent)
