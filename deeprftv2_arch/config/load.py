"""An option file, read and checked: what the launchers call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deeprftv2_arch.config.catalogue import Catalogue
from deeprftv2_arch.config.checker import Checker
from deeprftv2_arch.config.components import check_parts
from deeprftv2_arch.config.cross_checks import check_rules
from deeprftv2_arch.config.overrides import force_values, set_values
from deeprftv2_arch.config.problems import OptionsError
from deeprftv2_arch.config.sources import Sources, installed
from deeprftv2_arch.config.yaml_file import OptionFile, read_option_file


def read_checked(
    file: str | Path,
    *,
    is_train: bool,
    settings: Sequence[str] = (),
    forced: Sequence[str] = (),
    launcher: str = 'none',
    catalogue: Catalogue | None = None,
) -> OptionFile:
    """Read an option file, put in the values of the command line, and check all of it.

    Args:
        file: Path of the option file.
        is_train: Whether it is to train, or to test.
        settings: The arguments of `--set`.
        forced: The arguments of `--force_yml`.
        launcher: `none`, `pytorch` or `slurm`.
        catalogue: What the file may name; by default what is registered.

    Raises:
        OptionsError: With everything that is wrong.
        UserError: The file cannot be read.
    """
    if catalogue is None:
        from deeprftv2_arch.config.registries import Registries

        catalogue = Registries()
    read = read_option_file(file)
    force_values(read, forced)
    set_values(read, settings)
    checker = Checker(read, is_train, catalogue)
    check_parts(checker)
    check_rules(checker, launcher)
    checker.check_new_keys()
    if checker.findings:
        raise OptionsError(checker.findings)
    return read


def refuse_early(
    file: str | Path,
    *,
    is_train: bool,
    settings: Sequence[str] = (),
    forced: Sequence[str] = (),
    launcher: str = 'none',
) -> None:
    """Refuse an option file before torch and BasicSR are imported, if their source files tell all that is wrong.

    That no mistake is found means nothing yet: `read_checked` has the last word, on what is then registered.

    Args:
        file, is_train, settings, forced, launcher: As for `read_checked`.

    Raises:
        OptionsError: With everything that is wrong.
        UserError: The file cannot be read.
    """
    if not installed():
        return
    sources = Sources()
    try:
        read_checked(file, is_train=is_train, settings=settings, forced=forced, launcher=launcher, catalogue=sources)
    except OptionsError:
        if not sources.doubts:
            raise
    except (SyntaxError, ValueError, OSError):
        return  # of a source file: its import will tell
