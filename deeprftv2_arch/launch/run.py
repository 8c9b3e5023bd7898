"""What `train` and `test` have in common: run a pipeline of BasicSR, and tell a user's mistake in one line."""

from __future__ import annotations

import argparse
import glob
import importlib
import logging
import re
import shutil
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import distributed as dist

from deeprftv2_arch.basicsr_compat import patches, registration
from deeprftv2_arch.config.command_line import CommandLine
from deeprftv2_arch.distributed.env import local_rank, process_rank
from deeprftv2_arch.distributed.failure_watch import FailureWatch
from deeprftv2_arch.distributed.signals import (
    GracefulStop,
    TrainingStopped,
    ValidationGivenUp,
    end_workers,
    start_worker,
)
from deeprftv2_arch.launch.error_messages import explain
from deeprftv2_arch.utils.console import INTERRUPTED, PROGRAM_ERROR, USER_ERROR
from deeprftv2_arch.utils.errors import UserError


def launch(kind: str, root: str | Path) -> int:
    """Run the training or the test of BasicSR with the arguments of the command line.

    Args:
        kind: 'train' or 'test'.
        root: Folder below which `experiments`, `results` and `tb_logger` go.

    Returns:
        The exit code: 0, also after a training that Ctrl+C or SIGTERM stopped between two iterations; 2 after a mistake
        that one line on stderr explains; 130 after a Ctrl+C before the first iteration, in a test, or a second one. All
        processes of a run end with the same, and one of them says why.
    """
    registration.register_all()
    registration.announce()
    pipeline = importlib.import_module(f'basicsr.{kind}')
    patches.apply(patches.AT_START)
    with (
        CommandLine(sys.argv[1:]) as command_line,
        GracefulStop() as interruption,
        Run(pipeline, command_line, interruption) as run,
    ):
        try:
            run.go(root)
        except KeyboardInterrupt:
            advice = ' Add --auto_resume to go on from the last checkpoint.' if run.resumable() else ''
            return run.fail(INTERRUPTED, f'Interrupted.{advice}')
        except Exception as error:
            message = explain(error)
            if message is not None:
                lines = message.splitlines() if isinstance(error, UserError) else [message]
                return run.fail(USER_ERROR, *(f'Error: {line}' for line in lines))
            if run.peers.fail(PROGRAM_ERROR):
                raise
            return run.peers.failed
        finally:
            end_workers()
    return 0


class Run:
    """One run of a pipeline, watched at the calls that it makes before the first iteration.

    While the context is open these stand in for BasicSR's functions in the namespace of the pipeline's module.
    """

    WATCHED = ('parse_options', 'make_exp_dirs', 'copy_opt_file', 'build_dataset', 'build_dataloader', 'build_model')
    WATCHED += ('create_train_val_dataloader',)

    def __init__(self, pipeline: ModuleType, command_line: CommandLine, interruption: GracefulStop) -> None:
        self.pipeline = pipeline
        self.command_line = command_line
        self.interruption = interruption
        # The test copies no option file, and has no sampler.
        self.basicsr_functions = {name: getattr(pipeline, name) for name in self.WATCHED if hasattr(pipeline, name)}
        self.options: dict[str, Any] = {'path': {}}
        self.folders = Folders([])
        self.model: Any = None
        self.sampler: Any = None
        self.peers = FailureWatch()

    def __enter__(self) -> Run:
        # Where the disk is full, a log that cannot be written is no news: the file that matters is told.
        self.log_errors, logging.raiseExceptions = logging.raiseExceptions, False
        for name in self.basicsr_functions:
            setattr(self.pipeline, name, getattr(self, name))
        return self

    def __exit__(self, *_: object) -> None:
        logging.raiseExceptions = self.log_errors
        for name, function in self.basicsr_functions.items():
            setattr(self.pipeline, name, function)

    def go(self, root: str | Path) -> None:
        """Run the pipeline to its end, or to where it is asked to stop, and wait for the other processes there."""
        kind = self.pipeline.__name__.rpartition('.')[-1]
        try:
            getattr(self.pipeline, f'{kind}_pipeline')(str(root))
        except TrainingStopped as stopped:
            self.undo()
            if process_rank() == 0:
                self.say(str(stopped))
        if dist.is_initialized():
            dist.barrier()  # rank 0 may have had more to do, and failed
            self.peers.leave()
            dist.destroy_process_group()

    def fail(self, code: int, *lines: str) -> int:
        """Clean up after a failure, and say what is wrong if no other process has said it before.

        Returns:
            The exit code.
        """
        first = self.peers.fail(code)
        self.undo()
        if first:
            for line in lines:
                self.say(line)
        return self.peers.failed

    def parse_options(self, root_path: str, is_train: bool = True) -> tuple[dict[str, Any], argparse.Namespace]:
        """Check the options before anything is written, and take note of the folders as they are."""
        parser = self.basicsr_functions['parse_options']
        options, arguments = self.command_line.parse_options(parser, root_path, is_train)
        self.options = options
        if options['dist']:
            self.peers = self.interruption.peers = FailureWatch.meet()
        self.folders = Folders(
            [options['path']['experiments_root' if is_train else 'results_root']]
            + [Path(root_path, 'tb_logger', options['name'])] * is_train
        )
        return options, arguments

    def make_exp_dirs(self, options: dict[str, Any]) -> None:
        """Put the final options of a test into its folder."""
        self.basicsr_functions['make_exp_dirs'](options)
        if not options['is_train'] and process_rank() == 0:
            self.command_line.archive(options['path']['results_root'])

    def copy_opt_file(self, file: str, folder: str) -> None:
        """Put the final options of a training beside the copy of its option file."""
        self.basicsr_functions['copy_opt_file'](file, folder)
        if process_rank() == 0:
            self.command_line.archive(folder)

    def build_dataset(self, options: dict[str, Any]) -> Any:
        """Refuse a data set without images."""
        dataset = self.basicsr_functions['build_dataset'](options)
        if len(dataset) == 0:
            roots = ', '.join(f'{key}: {value}' for key, value in options.items() if key.startswith('dataroot'))
            raise UserError(f'The data set {options["name"]!r} has no images. Look into {roots}.')
        return dataset

    def build_dataloader(self, dataset: Any, options: dict[str, Any], **settings: Any) -> Any:
        """Refuse a data set without a full batch: BasicSR would count its iterations and train on nothing."""
        loader = self.basicsr_functions['build_dataloader'](dataset, options, **settings)
        if len(loader) == 0:
            raise UserError(
                f'The data set {options["name"]!r} has {len(dataset)} images, too few for one batch. Lower '
                'datasets.train.batch_size_per_gpu or raise datasets.train.dataset_enlarge_ratio.'
            )
        return loader

    def build_model(self, options: dict[str, Any]) -> Any:
        """Take note of the model, which tells how far the run has come, and from here on stop between iterations."""
        self.model = self.basicsr_functions['build_model'](options)
        if hasattr(self.model, 'interruption'):
            self.model.interruption = self.interruption
        if options['is_train']:
            self._watch_iterations()
        return self.model

    def create_train_val_dataloader(self, options: dict[str, Any], logger: logging.Logger) -> Any:
        """Take note of the sampler, which tells the epoch, and have workers leave signals to this process."""
        loaders = self.basicsr_functions['create_train_val_dataloader'](options, logger)
        training, self.sampler, validation = loaders[:3]
        for loader in (training, *validation):
            loader.worker_init_fn = partial(start_worker, loader.worker_init_fn)
        return loaders

    def _watch_iterations(self) -> None:
        """Look for a request to stop before each iteration, with which the loop changes the learning rate first.

        Our model gives up a validation between two images. Any other is interrupted in the middle, unless other
        processes wait for it.
        """
        model, interruption = self.model, self.interruption
        update, validate = model.update_learning_rate, model.validation

        def update_learning_rate(current_iter: int, warmup_iter: int = -1) -> None:
            if self._any_process_is_asked() or getattr(model, 'stop_reason', ''):
                self._stop(current_iter - 1)
            update(current_iter, warmup_iter=warmup_iter)

        def validation(dataloader: Any, current_iter: int, *arguments: Any, **settings: Any) -> None:
            try:
                if hasattr(model, 'interruption') or self.options['dist']:
                    validate(dataloader, current_iter, *arguments, **settings)
                else:
                    with interruption.raised():
                        interruption.check()
                        validate(dataloader, current_iter, *arguments, **settings)
            except KeyboardInterrupt as stopped:
                if self.options['dist'] and not isinstance(stopped, ValidationGivenUp):
                    raise  # the others do not know of it
                self._stop(min(current_iter, int(self.options['train']['total_iter'])))

        model.update_learning_rate, model.validation = update_learning_rate, validation
        interruption.deferred = True

    def _any_process_is_asked(self) -> bool:
        """All processes leave the training after the same iteration."""
        if not self.options['dist']:
            return self.interruption.requested
        asked = torch.tensor(int(self.interruption.requested), device=self.model.device)
        dist.all_reduce(asked, dist.ReduceOp.MAX)
        return bool(asked)

    def _stop(self, iteration: int) -> None:
        if getattr(self.model, 'bar', None) is not None:
            self.model.bar.close()
        if iteration <= (self.options.get('resumed') or {}).get('iter', 0):
            raise TrainingStopped('Stopped before the first iteration.')
        self.model.save(self.sampler.epoch, iteration)
        reason = getattr(self.model, 'stop_reason', '') or 'Add --auto_resume to go on.'
        raise TrainingStopped(f'Stopped after iteration {iteration}, which is saved. {reason}')

    def undo(self) -> None:
        """If the run came to nothing, put the folders back."""
        trained = any(scheduler.last_epoch > 0 for scheduler in getattr(self.model, 'schedulers', ()))
        if not trained and process_rank() == 0:
            for handler in logging.getLogger('basicsr').handlers:
                with suppress(OSError):  # its last lines may have no room
                    handler.close()
            self.folders.put_back()

    def resumable(self) -> bool:
        """Whether there is a checkpoint of this training."""
        states = self.options['path'].get('training_states')
        return states is not None and any(Path(states).glob('*.state'))

    def say(self, message: str) -> None:
        """Print a line to stderr. Until the processes of a run have met, one on each machine speaks."""
        rank = process_rank()
        if self.options.get('dist') or local_rank() == 0:
            print(message if rank == 0 else f'[rank {rank}] {message}', file=sys.stderr, flush=True)


class Folders:
    """Folders that a run of BasicSR makes anew, as they were before it.

    A folder that exists is renamed to `<name>_archived_<time>` at the start of a run.
    """

    LOGS = re.compile(r'.+\.(log|ya?ml|csv)|events\.out\.tfevents.*')

    def __init__(self, folders: list[str | Path]) -> None:
        self.before = {Path(folder): (Path(folder).exists(), self._archives(folder)) for folder in folders}
        self.options = {path: path.read_bytes() for folder in self.before for path in self._option_files(folder)}

    def put_back(self) -> None:
        """Remove those that are new and hold nothing but logs and options, and undo their archiving.

        Where a run was to be resumed, its options are those of before.
        """
        for folder, (existed, archives_before) in self.before.items():
            archived = self._archives(folder) - archives_before
            is_new = folder.is_dir() and (archived or not existed)
            if is_new and all(file.is_dir() or self.LOGS.fullmatch(file.name) for file in folder.rglob('*')):
                shutil.rmtree(folder)
                if archived:
                    archived.pop().rename(folder)
            for path in self._option_files(folder):
                if path in self.options:
                    path.write_bytes(self.options[path])

    @staticmethod
    def _option_files(folder: Path) -> list[Path]:
        return [*folder.glob('*.yml'), *folder.glob('*.yaml')]

    @staticmethod
    def _archives(folder: str | Path) -> set[Path]:
        return set(Path(folder).parent.glob(f'{glob.escape(Path(folder).name)}_archived_*'))
