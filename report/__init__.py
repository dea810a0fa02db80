"""Results to look at. Nothing here computes them."""
