"""Helpers that know nothing of images, networks or BasicSR."""
