"""The factor core: klines in, factors out."""
