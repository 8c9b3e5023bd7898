"""One self-contained HTML page about a training or a test: `deeprftv2 report FOLDER`."""
