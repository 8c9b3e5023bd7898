"""BasicSR beside today's torch and Python: registration of our names, and patches of its faults."""
