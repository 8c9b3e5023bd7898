"""Measuring restored images: protocols, metric values, results and tables."""
