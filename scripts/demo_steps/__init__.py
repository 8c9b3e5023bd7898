"""The steps of `make demo`, one module each; `scripts/demo.py` strings them together."""
