"""Figures and tables of the paper, computed from a network."""
