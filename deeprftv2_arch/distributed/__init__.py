"""Several processes: who is who, signals, and failures of one of them."""
