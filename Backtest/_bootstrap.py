"""Makes ``python Backtest/run_x.py`` find the package: the repository root takes the place of this folder."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
