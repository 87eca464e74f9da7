"""Backtest engines: weights in, RunRecord out."""
