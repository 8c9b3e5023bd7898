"""The commands of `deeprftv2`."""
