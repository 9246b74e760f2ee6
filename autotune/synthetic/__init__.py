"""A BENCH MADE OF NUMBERS: known truth, drift, noise, heat; proves measurement and search, never switching."""
