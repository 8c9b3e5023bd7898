"""Option files: what may stand in them, as data, and the checks and the reference that are made from it."""
