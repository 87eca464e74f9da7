"""Stage A: `Backtest.prepare` is its order; here is what the steps are made of."""
