"""An option file, read and checked: what the launchers call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deeprftv2_arch.config.checker import Checker
from deeprftv2_arch.config.components import names_on_file, registered
from deeprftv2_arch.config.cross_checks import check_agreement, check_own_folder, is_path
from deeprftv2_arch.config.overrides import force_values, set_values
from deeprftv2_arch.config.problems import OptionsError
from deeprftv2_arch.config.yaml_file import OptionFile, read_option_file
from deeprftv2_arch.utils.paths import expand


def read_checked(
    file: str | Path,
    *,
    is_train: bool,
    settings: Sequence[str] = (),
    forced: Sequence[str] = (),
    launcher: str = 'none',
    early: bool = False,
    auto_resume: bool = False,
) -> OptionFile:
    """Read an option file, put in the values of the command line, and check all of it.

    Args:
        file: Path of the option file.
        is_train: Whether it is to train, or to test.
        settings: The arguments of `--set`.
        forced: The arguments of `--force_yml`.
        launcher: `none`, `pytorch` or `slurm`.
        early: Whether torch and BasicSR are not to be imported. Then names and arguments are those on file, and nothing
            is checked if these are not those of what is installed. That no mistake is found means nothing yet.
        auto_resume: Whether the run goes on with an earlier one of its name.

    Raises:
        OptionsError: With everything that is wrong.
        UserError: The file cannot be read.
    """
    read = read_option_file(file)
    catalogue = names_on_file() if early else registered()
    if catalogue is None:
        return read
    force_values(read, forced)
    set_values(read, settings)
    checker = Checker(read, is_train, catalogue, early)
    checker.check_sections()
    check_agreement(checker, launcher)
    if is_train and not auto_resume:
        check_own_folder(checker)
    checker.check_new_keys()
    if checker.problems:
        raise OptionsError(checker.problems)
    _expand_paths(read.options)
    return read


def _expand_paths(options: dict[str, Any]) -> None:
    """Put the home folder in the place of `~` in the paths of data sets: BasicSR does so in a few of them only."""
    for dataset in (options.get('datasets') or {}).values():
        for key, value in dataset.items():
            if isinstance(value, str) and is_path(str(key)):
                dataset[key] = expand(value)
