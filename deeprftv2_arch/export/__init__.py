"""Networks as files for other programs: `deeprftv2 export`."""
