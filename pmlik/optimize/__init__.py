"""Minimise an objective and say what kind of point was found. NumPy and SciPy only."""
