"""Several processes: ranks, exchange of objects, signals, and the failure of one of them."""
