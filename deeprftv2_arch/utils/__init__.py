"""Small helpers without a field of their own."""
