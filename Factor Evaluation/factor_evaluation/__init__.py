"""Factor evaluation: inputs, checks, quality, factors and their statistics (Step 0 to 4), plain or through Qlib."""
