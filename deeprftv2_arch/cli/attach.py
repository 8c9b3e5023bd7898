"""Make an unmodified BasicSR checkout know the names of this package.

    deeprftv2 attach PATH
    deeprftv2 attach PATH --detach

BasicSR imports every `*_arch.py`, `*_dataset.py`, `*_loss.py` and `*_model.py` of its own folders. One file of one line
in each of them registers ours. `--detach` removes these files; no other file is ever touched.
"""

from __future__ import annotations

from pathlib import Path

from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.utils.errors import UserError

FILES = {
    'archs': 'deeprftv2_plugin_arch.py',
    'data': 'deeprftv2_plugin_dataset.py',
    'losses': 'deeprftv2_plugin_loss.py',
    'models': 'deeprftv2_plugin_model.py',
}
"""Names of the files that register our parts, by sub-package of BasicSR. That of `models` brings the metrics too."""

MARK = '  # written by `deeprftv2 attach`, removed by its --detach'


def attach(checkout: str | Path) -> list[Path]:
    """Write the files that register our names. Those that are there already stay as they are.

    Args:
        checkout: Root folder of a BasicSR checkout, the one with `basicsr/archs` in it.

    Returns:
        The files, whether they were new or not.

    Raises:
        UserError: The folder is not a checkout, or one of our file names is taken by a file that is not ours.
    """
    files = _files(checkout)
    for file in files.values():
        if file.exists() and not _is_ours(file):
            raise UserError(f'{file} is not ours, so it stays. Rename it, then attach again.')
    for part, file in files.items():
        line = f"from deeprftv2_arch.basicsr_compat.registration import register; register('{part}'){MARK}\n"
        try:
            file.write_text(line, encoding='utf-8')
        except OSError as error:
            detach(checkout)
            raise UserError(f'Cannot write {file}: {error.strerror}.') from error
    return list(files.values())


def detach(checkout: str | Path) -> list[Path]:
    """Remove the files that `attach` wrote.

    Args:
        checkout: As for `attach`.

    Returns:
        The files removed, none if nothing was attached.

    Raises:
        UserError: The folder is not a checkout.
    """
    ours = [file for file in _files(checkout).values() if _is_ours(file)]
    for file in ours:
        file.unlink()
    return ours


def _files(checkout: str | Path) -> dict[str, Path]:
    package = Path(checkout, 'basicsr')
    for part in FILES:
        if not (package / part / '__init__.py').is_file():
            raise UserError(f'{checkout} is not a BasicSR checkout: it has no file basicsr/{part}/__init__.py.')
    return {part: package / part / name for part, name in FILES.items()}


def _is_ours(file: Path) -> bool:
    return file.is_file() and file.read_text(encoding='utf-8', errors='replace').rstrip('\n').endswith(MARK)


def main(arguments: list[str] | None = None) -> None:
    """Attach or detach a checkout, and print what was done.

    Raises:
        UserError: The folder is no checkout, or a file there is not ours.
    """
    description = 'Register our names in an unmodified BasicSR checkout.'
    parser = command_parser('attach', description, '~/BasicSR', '~/BasicSR --detach')
    parser.add_argument('checkout', metavar='PATH', help='root folder of the BasicSR checkout')
    parser.add_argument('--detach', action='store_true', help='remove what attach wrote')
    given = parser.parse_args(arguments)
    if given.detach:
        removed = detach(given.checkout)
        for file in removed:
            print('removed', file)
        if not removed:
            print('Nothing was attached.')
        return
    for file in attach(given.checkout):
        print('attached', file)
    # Not needed to detach a checkout, which must work whatever is wrong with it.
    from deeprftv2_arch.basicsr_compat import patches

    package = Path(given.checkout, 'basicsr').resolve()
    installed = patches.folder()
    if installed is None or installed.resolve() != package:
        print(
            f'Mind that `import basicsr` here finds {installed or "nothing"}, not this checkout. Install the checkout '
            f'(pip install --no-build-isolation -e {given.checkout}), or set PYTHONPATH={package.parent}.'
        )
