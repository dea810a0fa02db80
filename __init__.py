"""icehouse: transfer values of frozen CNNs, computed once, kept in HDF5, and judged again and again."""

__version__ = "0.1.0"
