"""Argument parsers of the commands."""

from __future__ import annotations

import argparse


def command_parser(name: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """Make the parser of one command.

    Args:
        name: The command, as `deeprftv2` knows it.
        description: What it does.
        examples: Command lines to show at the end of the help, without `deeprftv2 NAME`.
    """
    program = f'deeprftv2 {name}'
    lines = '\n'.join(f'  {program} {example}' for example in examples)
    parser = argparse.ArgumentParser(prog=program, description=description, epilog=f'example:\n{lines}')
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser
