"""The command line of the launchers, and how its checked options reach BasicSR."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from deeprftv2_arch.config.load import read_checked
from deeprftv2_arch.utils.errors import UserError

RESOLVED = 'resolved_options.yml'
"""Written beside the copy of the option file: the options of the run, with the values of the command line."""


DEBUG_INTERVALS = (('val', 'val_freq'), ('logger', 'print_freq'), ('logger', 'save_checkpoint_freq'))
"""What BasicSR makes short where the name of a training contains `debug`."""


class CommandLine:
    """The arguments of a launcher: those of BasicSR's scripts, and `--set`.

    A context: the files that BasicSR reads the options from last as long as it is open.

    Args:
        arguments: What stands behind the name of the program.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.given, self.others = _parser().parse_known_args(arguments)
        self.resolved: dict[str, Any] = {}
        self._folder = tempfile.TemporaryDirectory(prefix='options_', ignore_cleanup_errors=True)

    def __enter__(self) -> CommandLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def refuse_early(self, is_train: bool) -> None:
        """Check the options as far as the sources tell what they may name.

        Args:
            is_train: Whether the run trains.

        Raises:
            UserError: For everything that is wrong with the options.
        """
        read_checked(self.given.opt, is_train=is_train, early=True, **self._changes())

    def parse_options(
        self, basicsr_parser: Callable[..., tuple[dict[str, Any], argparse.Namespace]], root: str, is_train: bool
    ) -> tuple[dict[str, Any], argparse.Namespace]:
        """Check the options; then have BasicSR parse them in their final form, with nothing left to execute.

        Args:
            basicsr_parser: BasicSR's `parse_options`.
            root: Folder below which the results go.
            is_train: Whether the run trains.

        Raises:
            UserError: For everything that is wrong with the options.
        """
        given = self.given
        read = read_checked(given.opt, is_train=is_train, **self._changes())
        final = Path(self._folder.name, RESOLVED)
        # BasicSR opens it in the code page of the machine, and takes apart a section that is there but empty.
        parts = {key: part for key, part in read.options.items() if part is not None}
        final.write_text(_dump(parts, ascii_only=True), encoding='ascii')
        argv = sys.argv
        sys.argv = [argv[0], *self._for_basicsr(final)]
        try:
            options, arguments = basicsr_parser(root, is_train)
        finally:
            sys.argv = argv
        if options['rank'] == 0:
            for warning in read.warnings:
                print(f'Warning: {warning}', file=sys.stderr)
        if is_train and 'debug' in options['name']:
            self._settle_intervals(options, read.options)
        self.resolved = {**read.options, 'name': options['name'], 'manual_seed': options['manual_seed']}
        # What BasicSR will archive. The file itself may be in the folder that BasicSR moves out of the way.
        original = Path(self._folder.name, 'original', Path(given.opt).name)
        original.parent.mkdir()
        original.write_text(read.text, encoding='utf-8')
        arguments.opt = str(original)
        return options, arguments

    def _settle_intervals(self, options: dict[str, Any], written: dict[str, Any]) -> None:
        """Put right what BasicSR makes of a training whose name contains `debug`: any such name shortens its intervals.

        Only where that was asked for, by `--debug` or a name that begins with the word, they stay so, and count.

        Args:
            options: As BasicSR has parsed them.
            written: As they stand in the option file; what counts is put there.
        """
        is_meant = self.given.debug or options['name'].startswith('debug')
        shortened = []
        for section, key in DEBUG_INTERVALS:
            part = written.get(section)
            if not isinstance(part, dict) or key not in part:
                continue
            if is_meant:
                part[key] = options[section][key]
                shortened.append(f'{section}.{key}: {part[key]}')
            else:
                options[section][key] = part[key]
        message = ''
        if is_meant:
            message = f'this run is for debugging: {", ".join(shortened)}; no TensorBoard files.'
        elif options['logger'].get('use_tb_logger'):
            message = f'BasicSR writes no TensorBoard files for a name with "debug" in it: {options["name"]}.'
        if message and options['rank'] == 0:
            print(f'Warning: {message}', file=sys.stderr)

    def archive(self, folder: str | Path) -> None:
        """Write the final options into the folder of the results.

        Raises:
            UserError: The file cannot be written.
        """
        changes = [f'--set {argument}' for argument in self.given.set]
        changes += [f'--force_yml {argument}' for argument in self.given.force_yml]
        source = ' '.join([f'# The options of this run: {self.given.opt}', *changes])
        try:
            Path(folder, RESOLVED).write_text(f'{source}\n{_dump(self.resolved)}', encoding='utf-8')
        except OSError as error:
            raise UserError(f'Cannot write {Path(folder, RESOLVED)}: {error.strerror}.') from error

    def _changes(self) -> dict[str, Any]:
        given = self.given
        return {
            'settings': given.set,
            'forced': given.force_yml,
            'launcher': given.launcher,
            'auto_resume': given.auto_resume,
        }

    def _for_basicsr(self, file: Path) -> list[str]:
        given = self.given
        flags = [f'--{name}' for name in ('auto_resume', 'debug') if getattr(given, name)]
        return [
            '-opt',
            str(file),
            '--launcher',
            given.launcher,
            f'--local_rank={given.local_rank}',
            *flags,
            *self.others,
        ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file in YAML')
    parser.add_argument(
        '--set',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='replace a value of the option file: --set train.total_iter=1000 datasets.train.gt_size=128',
    )
    parser.add_argument('--auto_resume', action='store_true', help='go on from the last checkpoint of this run')
    parser.add_argument('--debug', action='store_true', help='short intervals, and a name that begins with debug_')
    launchers = ('none', 'pytorch', 'slurm')
    parser.add_argument('--launcher', choices=launchers, default='none', help='what started several processes')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by torch.distributed.launch')
    parser.add_argument(
        '--force_yml', nargs='+', action='extend', default=[], metavar='KEY:KEY=VALUE', help="BasicSR's form of --set"
    )
    return parser


class _Dumper(yaml.SafeDumper):
    """Writes what an anchor stands for, in every place: BasicSR takes its options apart while it reads them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _dump(options: dict[str, Any], ascii_only: bool = False) -> str:
    return yaml.dump(options, Dumper=_Dumper, sort_keys=False, allow_unicode=not ascii_only)
