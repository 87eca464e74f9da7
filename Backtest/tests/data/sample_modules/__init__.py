"""A user's package of library functions, good and bad, for the tests of the allow-list."""

from os import getcwd as getcwd
from pathlib import Path as Path

from .inner import from_inside as from_inside
