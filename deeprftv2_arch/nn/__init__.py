"""Building blocks of the networks: torch only, no registry, no BasicSR, no option dicts."""
