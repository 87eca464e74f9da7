"""What USDT-M futures are traded under: tiers, fees, leverage, funding. The account itself is compiled (engine/numba)."""
