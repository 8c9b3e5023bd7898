"""The version of this package, for what must know it without importing the rest."""

__version__ = '0.1.0'
