"""What USDT-M futures are traded under: tiers, fees, leverage, funding. The account is compiled: engine/numba/um_*."""
