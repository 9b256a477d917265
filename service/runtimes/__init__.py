"""How a batch bucket is compiled and called, one file for each engine."""
