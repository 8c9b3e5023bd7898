"""One self-contained HTML page about a training or a test: `python -m deeprftv2_arch.report FOLDER`."""
