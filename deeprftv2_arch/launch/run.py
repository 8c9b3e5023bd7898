"""Run BasicSR's training or test, and report a user's mistake in one line."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import distributed as dist
from torch import nn

from deeprftv2_arch.basicsr_compat import patches, registration
from deeprftv2_arch.checkpoints.training_start import training_start
from deeprftv2_arch.config.command_line import CommandLine
from deeprftv2_arch.distributed.env import local_rank, process_rank
from deeprftv2_arch.distributed.failure_watch import FailureWatch
from deeprftv2_arch.distributed.signals import GracefulStop, TrainingStopped, ValidationGivenUp
from deeprftv2_arch.launch.error_messages import user_message
from deeprftv2_arch.launch.loader_workers import end_workers, start_worker
from deeprftv2_arch.launch.run_folders import RunFolders, refuse_to_archive
from deeprftv2_arch.utils.console import INTERRUPTED, PROGRAM_ERROR, USER_ERROR, print_error
from deeprftv2_arch.utils.contracts import BasicSRModel, StoppableModel
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.run_lock import RunLock


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
    try:
        registration.register_all()
    except UserError as error:
        return print_error(error)
    registration.announce()
    pipeline = importlib.import_module(f'basicsr.{kind}')
    patches.apply(patches.AT_START)
    with (
        CommandLine(sys.argv[1:]) as command_line,
        GracefulStop() as stop,
        Run(pipeline, command_line, stop) as run,
    ):
        try:
            run.go(root)
        except KeyboardInterrupt:
            advice = ' Add --auto_resume to go on from the last checkpoint.' if run.resumable() else ''
            return run.fail(INTERRUPTED, f'Interrupted.{advice}')
        except Exception as error:
            message = user_message(error)
            if message is not None:
                lines = message.splitlines() if isinstance(error, UserError) else [message]
                return run.fail(USER_ERROR, *(f'Error: {line}' for line in lines))
            if run.clean_up(PROGRAM_ERROR):
                raise
            return run.watch.failed
        finally:
            end_workers()
    return 0


class Run:
    """One run of a pipeline, watched at the calls that it makes before the first iteration.

    While the context is open, its methods stand in for BasicSR's functions of the same names in the pipeline's module.

    Args:
        pipeline: `basicsr.train` or `basicsr.test`.
        command_line: The arguments of the launcher.
        stop: What may ask the run to stop.
    """

    WATCHED = (
        'parse_options',
        'make_exp_dirs',
        'copy_opt_file',
        'build_dataset',
        'build_dataloader',
        'build_model',
        'create_train_val_dataloader',
    )

    def __init__(self, pipeline: ModuleType, command_line: CommandLine, stop: GracefulStop) -> None:
        self.pipeline = pipeline
        self.command_line = command_line
        self.stop = stop
        # The test copies no option file, and has no sampler.
        self.basicsr_functions = {name: getattr(pipeline, name) for name in self.WATCHED if hasattr(pipeline, name)}
        self.options: dict[str, Any] = {'path': {}}
        self.folders = RunFolders([])
        self.model: BasicSRModel | None = None
        self.sampler: Any = None  # of BasicSR or ours: it has an epoch
        self.iterations = 0  # begun in this process
        self.watch = FailureWatch()
        self.lock: RunLock | None = None

    def __enter__(self) -> Run:
        # On a full disk the log cannot be written either: the failing checkpoint is reported instead.
        self.log_errors, logging.raiseExceptions = logging.raiseExceptions, False
        for name in self.basicsr_functions:
            setattr(self.pipeline, name, getattr(self, name))
        return self

    def __exit__(self, *_: object) -> None:
        if self.lock is not None:
            self.lock.release()
        self._close_progress()
        logging.raiseExceptions = self.log_errors
        for name, function in self.basicsr_functions.items():
            setattr(self.pipeline, name, function)

    def go(self, root: str | Path) -> None:
        """Run the pipeline to its end, or to where it is asked to stop, and wait for the other processes there."""
        kind = self.pipeline.__name__.rpartition('.')[-1]
        try:
            getattr(self.pipeline, f'{kind}_pipeline')(str(root))
        except TrainingStopped as stopped:
            self.restore_folders()
            if process_rank() == 0:
                self.say(str(stopped))
        if dist.is_initialized():
            dist.barrier()  # rank 0 may have had more to do, and failed
            self.watch.stop()
            dist.destroy_process_group()

    def fail(self, code: int, *lines: str) -> int:
        """Clean up after a failure, and say what is wrong if no other process has said it before.

        Returns:
            The exit code.
        """
        if self.clean_up(code):
            for line in lines:
                self.say(line)
        return self.watch.failed

    def clean_up(self, code: int) -> bool:
        """Clean up after a failure with an exit code.

        Returns:
            Whether this process is the one to say what is wrong.
        """
        is_first = self.watch.fail(code)
        self.restore_folders()
        self._close_progress()
        return is_first

    def parse_options(self, root_path: str, is_train: bool = True) -> tuple[dict[str, Any], argparse.Namespace]:
        """Check the options before anything is written, and take note of the folders as they are."""
        parser = self.basicsr_functions['parse_options']
        options, arguments = self.command_line.parse_options(parser, root_path, is_train)
        self.options = options
        if options['dist']:
            self.watch = self.stop.watch = FailureWatch.start()
        if is_train:
            folders = [Path(options['path']['experiments_root']), Path(root_path, 'tb_logger', options['name'])]
        else:
            folders = [Path(options['path']['results_root'])]
        if process_rank() == 0:
            self.lock = RunLock(folders[0], 'a training' if is_train else 'a test')
        self.folders = RunFolders(folders)
        return options, arguments

    def make_exp_dirs(self, options: dict[str, Any]) -> None:
        """Refuse to move away what the run is to read; put the final options of a test into its folder."""
        kind = 'experiments_root' if options['is_train'] else 'results_root'
        refuse_to_archive(Path(options['path'][kind]), options)
        self.basicsr_functions['make_exp_dirs'](options)
        if not options['is_train'] and process_rank() == 0:
            self.command_line.archive(options['path']['results_root'])

    def copy_opt_file(self, file: str, folder: str) -> None:
        """Put a copy of the option file into the folder of a training, and its final options beside it.

        BasicSR's own function reads and writes the copy in the code page of the machine; the file is in UTF-8.
        """
        if process_rank() == 0:
            head = f'# GENERATE TIME: {time.asctime()}\n# CMD:\n# {" ".join(sys.argv)}\n\n'
            text = Path(file).read_text(encoding='utf-8')
            # An argument may hold bytes that are no characters of the code page.
            Path(folder, Path(file).name).write_text(head + text, encoding='utf-8', errors='backslashreplace')
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

    def build_model(self, options: dict[str, Any]) -> BasicSRModel:
        """Take note of the model, whose schedulers know how far the run has come; from here on stop between iterations.

        Args:
            options: All options of the run.
        """
        model: BasicSRModel = self.basicsr_functions['build_model'](options)
        self.model = model
        if isinstance(model, StoppableModel):
            model.stop_request = self.stop
        if options['is_train']:
            self._watch_iterations(model)
        elif not isinstance(model, StoppableModel):  # ours says so itself, and in its results
            warn_of_random_weights(model, options)
        return model

    def create_train_val_dataloader(self, options: dict[str, Any], logger: logging.Logger) -> Any:
        """Take note of the sampler, which tells the epoch, and have workers leave signals to this process."""
        loaders = self.basicsr_functions['create_train_val_dataloader'](options, logger)
        training, self.sampler, validation = loaders[:3]
        for loader in (training, *validation):
            loader.worker_init_fn = partial(start_worker, loader.worker_init_fn)
        return loaders

    def _watch_iterations(self, model: BasicSRModel) -> None:
        """Look for a request to stop before each iteration, at the loop's first call in it, and in a validation.

        Our model gives up a validation between two images. Any other is interrupted in the middle, unless other
        processes wait for it.
        """
        update, validate = model.update_learning_rate, model.validation
        stops_by_itself = isinstance(model, StoppableModel) or self.options['dist']

        def update_learning_rate(current_iter: int, warmup_iter: int = -1) -> None:
            if self.lock is not None:
                self.lock.check()
            self.iterations += 1
            if self._any_process_is_asked(model) or _stop_reason(model):
                self._stop_training(model, current_iter - 1)
            update(current_iter, warmup_iter=warmup_iter)

        def validation(dataloader: Any, current_iter: int, *arguments: Any, **settings: Any) -> None:
            try:
                if stops_by_itself:
                    validate(dataloader, current_iter, *arguments, **settings)
                else:
                    with self.stop.raised():
                        self.stop.check()
                        validate(dataloader, current_iter, *arguments, **settings)
            except KeyboardInterrupt as stopped:
                if self.options['dist'] and not isinstance(stopped, ValidationGivenUp):
                    raise  # the others do not know of it
                self._stop_training(model, min(current_iter, int(self.options['train']['total_iter'])))

        model.update_learning_rate, model.validation = update_learning_rate, validation
        self.stop.deferred = True

    def _any_process_is_asked(self, model: BasicSRModel) -> bool:
        """Tell whether to stop: all processes leave the training after the same iteration."""
        if not self.options['dist']:
            return self.stop.requested
        asked = torch.tensor(int(self.stop.requested), device=model.device)
        dist.all_reduce(asked, dist.ReduceOp.MAX)
        return bool(asked)

    def _stop_training(self, model: BasicSRModel, iteration: int) -> NoReturn:
        self._close_progress()
        if iteration <= training_start(self.options).iteration:
            raise TrainingStopped('Stopped before the first iteration.')
        model.save(self.sampler.epoch, iteration)
        self.iterations += 1  # so that the last one counts as completed
        reason = _stop_reason(model) or 'Add --auto_resume to go on.'
        raise TrainingStopped(f'Stopped after iteration {iteration}, which is saved. {reason}')

    def _close_progress(self) -> None:
        if isinstance(self.model, StoppableModel):
            self.model.close_progress()

    def restore_folders(self) -> None:
        """Restore the folders of the run if no iteration was completed."""
        if self.iterations <= 1 and process_rank() == 0:
            for handler in logging.getLogger('basicsr').handlers:
                with suppress(OSError):  # its last lines may have no room
                    handler.close()
            self.folders.restore()

    def resumable(self) -> bool:
        """Return whether there is a checkpoint of this training."""
        states = self.options['path'].get('training_states')
        return states is not None and any(Path(states).glob('*.state'))

    def say(self, message: str) -> None:
        """Print a line to stderr. Until the processes of a run have met, one on each machine speaks."""
        rank = process_rank()
        if self.options.get('dist') or local_rank() == 0:
            print(message if rank == 0 else f'[rank {rank}] {message}', file=sys.stderr, flush=True)


def warn_of_random_weights(model: BasicSRModel, options: Mapping[str, Any]) -> None:
    """Say in the log of a test which networks have weights that no checkpoint was loaded into."""
    for key in options:
        name = str(key).removeprefix('network_')
        net = getattr(model, f'net_{name}', None)
        if str(key) == name or not isinstance(net, nn.Module) or options['path'].get(f'pretrain_network_{name}'):
            continue
        if any(True for _ in net.parameters()):
            logging.getLogger('basicsr').warning(
                f'The weights of {key} are random, for path.pretrain_network_{name} names no checkpoint.'
            )


def _stop_reason(model: BasicSRModel) -> str:
    return model.stop_reason if isinstance(model, StoppableModel) else ''
