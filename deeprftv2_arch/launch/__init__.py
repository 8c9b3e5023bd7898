"""Starting a training or a test, and saying what went wrong."""
