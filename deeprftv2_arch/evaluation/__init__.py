"""Measuring restored images: the walk over test sets, metric values, results and tables."""
