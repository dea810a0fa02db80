"""Vectors in, results out: heads, splits, rounds, metrics, run folders. TensorFlow is never imported here."""
