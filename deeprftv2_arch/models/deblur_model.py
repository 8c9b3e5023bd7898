"""How DeepRFTv2 is trained and validated inside BasicSR's loop; other networks can take part."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import chain
from typing import Any, ClassVar

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn
from torch import distributed as dist
from torch.utils.data import DataLoader

from deeprftv2_arch.checkpoints.io import plain_state, read_checkpoint
from deeprftv2_arch.checkpoints.load import load_weights
from deeprftv2_arch.checkpoints.training_start import training_start
from deeprftv2_arch.config.network_options import window
from deeprftv2_arch.config.schema import DeblurOptions, read_sections
from deeprftv2_arch.config.stages import Stage, read_stages, stage_of
from deeprftv2_arch.distributed.collect import gather_from_all
from deeprftv2_arch.distributed.signals import GracefulStop
from deeprftv2_arch.evaluation.contact_sheet import add_pictures
from deeprftv2_arch.evaluation.evaluator import Evaluator, Restored
from deeprftv2_arch.evaluation.results import DatasetResult
from deeprftv2_arch.models.backward import accumulate_gradient
from deeprftv2_arch.models.bad_steps import BadSteps, damaged_images
from deeprftv2_arch.models.optimization import build_optimizer, build_scheduler
from deeprftv2_arch.models.precision import Precision
from deeprftv2_arch.models.progress import TrainingProgress
from deeprftv2_arch.models.saving import CheckpointKeeper
from deeprftv2_arch.models.tested_weights import weight_notices
from deeprftv2_arch.models.validation_history import ValidationHistory
from deeprftv2_arch.nn.windows import run_padded
from deeprftv2_arch.utils.contracts import NetworkWithTestMode, StopRequest, returns_all_outputs
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.rng import preserve_rng_state, random_state, set_random_state

LOSSES = {'pixel_opt': 'l_pix', 'fft_opt': 'l_fft', 'perceptual_opt': 'l_percep'}
"""Name in the log of each loss that an option file can ask for."""


@MODEL_REGISTRY.register()
class DeblurModel(SRModel):
    """The released training of DeepRFTv2: multi-scale supervision, AdamW, cosine annealing, gradient clipping.

    A network whose ``forward`` takes ``return_all`` is asked for all its outputs, one list per scale, and every one is
    supervised. Any other network is supervised on its one output at full resolution.

    ``Options`` declares the keys of the option file that are read, with their defaults (``docs/options.md``); optimizer
    and schedule start from the released values.

    Attributes:
        stop_request: What may ask a validation to be given up; the launchers put theirs here.

    Raises:
        UserError: For wrong options, checkpoints that do not fit, images that are not finite, and losses that stay so.
    """

    plans_batches = True
    """That the loader is to follow the stages: see :class:`~deeprftv2_arch.utils.contracts.BatchPlanner`."""

    ema_decay = 0.0
    """Decay of the running mean of the weights; above 0 there is one, ``net_g_ema``."""

    Options: ClassVar[type[DeblurOptions]] = DeblurOptions
    """The keys that may stand in an option file, see :mod:`deeprftv2_arch.config.options`."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.options = read_sections(self.Options, opt, type(self).__name__)
        # Before the base class, which calls model_to_device.
        self.precision = {phase: Precision.from_options(opt.get(phase), phase) for phase in ('train', 'val')}
        self.started_anew: list[str] = []
        super().__init__(opt)
        self.evaluator = Evaluator(self.restore, opt)
        if not self.is_train:
            self.evaluator.note(weight_notices(self.net_g, opt['path'], self.started_anew))
        self.image_names: dict[str, list[str]] = {}
        self.iteration = 0
        self.stop_request: StopRequest = GracefulStop()

    # Set-up

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Bring a network to its device, in the memory layout and compiled as the options have it."""
        self.precision['train' if self.is_train else 'val'].prepare(net, self.device)
        if not any(parameter.requires_grad for parameter in net.parameters()):
            return net.to(self.device)  # PyTorch refuses to distribute a network with nothing to train
        return super().model_to_device(net)

    @master_only
    def print_network(self, net: nn.Module) -> None:
        """Log the name and the size of the network; its modules fill thousands of lines."""
        net = self.get_bare_model(net)
        parameters = sum(parameter.numel() for parameter in net.parameters())
        get_root_logger().info(f'Network {type(net).__name__} with {parameters:,} parameters.')

    def init_training_settings(self) -> None:
        """Build losses, optimizer, schedule and, if asked for, the running mean of the weights."""
        options, train, logger = self.opt['train'], self.options.train, self.options.logger
        if train is None:
            raise UserError('train: missing, but a training needs it. How to train.')
        self.train_options = train
        self.checkpoints = CheckpointKeeper(self.opt, keep=logger.keep_checkpoints if logger else None)
        self.history = ValidationHistory(self.options.val, self.checkpoints.validations, self.checkpoints.best)
        self.best_metric_results = self.history.best_metric_results  # BasicSR logs them
        self.progress = TrainingProgress(self.opt)
        self.net_g.train()
        self.returns_all = returns_all_outputs(self.get_bare_model(self.net_g))
        self.criteria: dict[str, nn.Module] = {}
        for key, name in LOSSES.items():
            if options.get(key):
                self.criteria[name] = build_loss(options[key]).to(self.device)
        if not self.criteria:
            raise UserError(f'train: no loss is given. Add {" or ".join(LOSSES)}.')
        self.grad_clip, self.ema_decay = train.grad_clip, train.ema_decay
        self.bad_steps = BadSteps(train.max_bad_steps, self.checkpoints.restart_hint)
        self.stages = read_stages(self.opt)
        self.stage: Stage | None = None
        if self.ema_decay > 0:
            self._start_ema()
        self.setup_optimizers()
        self.setup_schedulers()

    def _start_ema(self) -> None:
        self.net_g_ema = build_network(self.opt['network_g']).to(self.device).eval().requires_grad_(False)
        self.model_ema(0)
        path = self.opt['path'].get('pretrain_network_g')
        if path is not None and 'params_ema' in read_checkpoint(path):
            self.load_network(self.net_g_ema, path, param_key='params_ema')

    def setup_optimizers(self) -> None:
        """Build the optimizer over every parameter that takes a gradient."""
        parameters = dict(self.get_bare_model(self.net_g).named_parameters())
        frozen = [name for name, parameter in parameters.items() if not parameter.requires_grad]
        if frozen:
            get_root_logger().warning(f'Not optimized, for they take no gradient: {", ".join(frozen)}')
        self.trained_parameters = [parameter for parameter in parameters.values() if parameter.requires_grad]
        self.optimizer_g = build_optimizer(self.trained_parameters, self.train_options)
        self.optimizers.append(self.optimizer_g)

    def setup_schedulers(self) -> None:
        """Build the schedule of the learning rate."""
        self.schedulers = [build_scheduler(optimizer, self.train_options) for optimizer in self.optimizers]

    def load_network(
        self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = 'params'
    ) -> None:
        """Load weights, which must fit the network exactly; see :func:`~deeprftv2_arch.checkpoints.load.load_weights`.

        Raises:
            UserError: If they do not, or if ``strict`` is false: a network that is loaded in part restores nothing.
        """
        if not strict:
            raise UserError(
                'path.strict_load_g: weights are only loaded whole. Remove the key, or write true. To start parts of a '
                'network anew, as for another scale of super-resolution: path.strict_load_except_g: [upsampler].'
            )
        paths = self.opt['path']
        parts = paths.get('strict_load_except_g') or ()
        if paths.get('resume_state'):
            parts = ()
        self.started_anew = anew = load_weights(self.get_bare_model(net), load_path, param_key, parts)
        but = f', but for what starts anew (path.strict_load_except_g): {", ".join(anew)}' if anew else ''
        get_root_logger().info(f'Loaded {load_path}, key {param_key}{but}.')

    # One batch

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch: ``lq`` and, where it is known, ``gt``, (N, 3, H, W) in [0, 1], and the names of the files."""
        self._forget_batch()
        super().feed_data(data)
        self.image_names = {role: data.get(f'{role}_path', []) for role in ('lq', 'gt')}

    @property
    def tested_network(self) -> nn.Module:
        """The running mean of the weights if there is one, else the network itself, bare.

        The wrapper of several processes would exchange buffers, at times that differ from process to process.
        """
        return self.net_g_ema if self.ema_decay > 0 else self.get_bare_model(self.net_g)

    @torch.no_grad()
    def test(self) -> None:
        """Restore the batch that was fed; for a network with `window_size` the sides are padded, as in SwinIRModel."""
        net = self.tested_network
        was_training = net.training
        net.eval()
        try:
            run = partial(self.precision['val'].run, net)
            self.output = run_padded(run, self.lq, window(self.opt['network_g']))
        finally:
            net.train(was_training)

    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """Restore a batch for the evaluator, and keep nothing of it."""
        try:
            self.feed_data(batch)
            self.test()
            network = self.tested_network
            mode = network.test_mode if isinstance(network, NetworkWithTestMode) else ''
            return Restored(self.output.detach().cpu(), mode)
        finally:
            self._forget_batch()

    def _forget_batch(self) -> None:
        """Drop the images at hand, so that no step mistakes them for its own and the memory is free."""
        for role in ('lq', 'gt', 'output'):
            self.__dict__.pop(role, None)

    # Training

    def optimize_parameters(self, current_iter: int) -> None:
        """Do one iteration on the batch that was fed: one step of the optimizer, unless its gradient is not finite."""
        self.iteration = current_iter
        stage = self._enter_stage(current_iter)
        self.optimizer_g.zero_grad()
        terms, self.output = accumulate_gradient(
            self.net_g,
            self.lq,
            self.gt,
            criteria=self.criteria,
            precision=self.precision['train'],
            all_outputs=self.returns_all,
            steps=stage.accumulation,
        )
        total = torch.stack(list(terms.values())).sum()
        norm = nn.utils.clip_grad_norm_(self.trained_parameters, self.grad_clip or float('inf'))
        if self._is_finite(total, norm):
            self.bad_steps.step()
            self.optimizer_g.step()
            if self.ema_decay > 0:
                self.model_ema(self.ema_decay)
        else:
            self._skip_step(total, norm, current_iter)
        self.log_dict = self.reduce_loss_dict({**terms, 'l_total': total, 'grad_norm': norm})
        if self.bad_steps.total:
            self.log_dict['bad_steps'] = self.bad_steps.total
        self.progress.update(
            current_iter,
            loss=self.log_dict['l_total'],
            learning_rate=self.get_current_learning_rate()[0],
            crop=self._crop(),
            images=len(self.gt) * self.opt['world_size'],
        )

    def get_current_log(self) -> dict[str, float]:
        """Return the values of the last iteration, for BasicSR's log; they are written to ours as well."""
        self.progress.log_training(self.iteration, self.log_dict, self.get_current_learning_rate()[0], self._crop())
        return super().get_current_log()

    def _enter_stage(self, current_iter: int) -> Stage:
        stage = stage_of(self.stages, current_iter)
        if stage != self.stage:
            self.stage = stage
            number = f'{self.stages.index(stage) + 1} of {len(self.stages)}'
            get_root_logger().info(f'Stage {number}: {stage}.')
        return stage

    @torch.no_grad()
    def model_ema(self, decay: float = 0.999) -> None:
        """Move the running mean of the weights towards the weights; buffers are copied."""
        net = self.get_bare_model(self.net_g)
        for mean, parameter in zip(self.net_g_ema.parameters(), net.parameters(), strict=True):
            mean.lerp_(parameter, 1 - decay)
        for copy, buffer in zip(self.net_g_ema.buffers(), net.buffers(), strict=True):
            copy.copy_(buffer)

    def _is_finite(self, total: Tensor, norm: Tensor) -> bool:
        """Tell whether loss and gradient are finite in every process: all of them step, or none."""
        finite = (total.isfinite() & norm.isfinite()).int()
        if self.opt['dist']:
            dist.all_reduce(finite, dist.ReduceOp.MIN)
        return bool(finite)

    def _skip_step(self, total: Tensor, norm: Tensor, current_iter: int) -> None:
        """Leave the weights as they are, and count.

        Raises:
            UserError: If images are damaged, or if too many steps were skipped in a row.
        """
        images = {'lq': self.lq, 'gt': self.gt}
        damaged = list(chain.from_iterable(gather_from_all(damaged_images(images, self.image_names))))
        if damaged:
            raise UserError(f'NaN or infinite pixels in {", ".join(damaged)}. Repair or remove these images.')
        self.bad_steps.skip(current_iter, total.item(), norm.item())

    def _crop(self) -> tuple[int, int]:
        height, width = self.gt.shape[-2:]
        return height, width

    def close_progress(self) -> None:
        """Leave the progress bar as it stands, so that messages have lines of their own."""
        if self.is_train:
            self.progress.close()

    # Checkpoints

    def save(self, epoch: int, current_iter: int) -> None:
        """Write weights, then the state; all processes take part. The weights alone after the last iteration (-1)."""
        if current_iter == -1:
            super().save(epoch, current_iter)
            return
        self._random_states = gather_from_all(random_state())
        super().save(epoch, current_iter)
        self.checkpoints.prune(current_iter)

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write all that the next iterations depend on beside the weights; nothing after the last one (-1)."""
        if current_iter == -1:
            return
        state = {
            **plain_state(epoch, current_iter, self.optimizers, self.schedulers),
            **self.history.state(),
            'random': self._random_states,
            'bad_steps': self.bad_steps.state(),
            'manual_seed': self.opt['manual_seed'],
        }
        data = training_start(self.opt).data
        if data is not None:
            state['data'] = data
        self.checkpoints.write_state(current_iter, state)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a state; one that BasicSR itself wrote lacks the random numbers and the history."""
        super().resume_training(resume_state)
        self.bad_steps.resume(resume_state.get('bad_steps', self.bad_steps.state()))
        self.history.resume(resume_state)
        states = resume_state.get('random', [])
        if self.opt['rank'] < len(states):
            set_random_state(states[self.opt['rank']])
        elif self.opt['rank'] == 0:
            get_root_logger().warning('This state was written by another program: random numbers begin anew.')
        # The data tell in which epoch the next iteration lies.
        epoch = training_start(self.opt).epoch
        if epoch is not None:
            resume_state['epoch'] = epoch

    # Validation

    @property
    def stop_reason(self) -> str:
        """Why the training is to end before its last iteration; empty as long as it is not."""
        return self.history.stop_reason if self.is_train else ''

    def validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> None:
        """Evaluate on a data set, log the result, and in a training keep the weights if they are the best so far.

        Nothing of it is left in the training that goes on: neither random numbers nor images.

        Raises:
            UserError: See :meth:`~deeprftv2_arch.evaluation.evaluator.Evaluator.evaluate`.
            ValidationGivenUp: Likewise; then nothing is scored or logged.
        """
        with preserve_rng_state():
            if self.opt['dist']:
                for buffer in self.tested_network.buffers():
                    dist.broadcast(buffer, 0)
            result = self.evaluator.evaluate(dataloader, self.stop_request, label=current_iter, save_images=save_img)
        if self.is_train and tb_logger and self.opt['rank'] == 0:
            add_pictures(tb_logger, self.evaluator.contact_sheet_folder(result.name), result.name, self.iteration)
        if result.metrics:
            self._take_result(result, current_iter, tb_logger)
        if self.is_train:
            self.history.write(int(current_iter))
        else:
            self.evaluator.report(result)

    def _take_result(self, result: DatasetResult, current_iter: int | str, tb_logger: Any) -> None:
        self.metric_results = result.scores.means()
        is_best = self.is_train and self.history.add(result, int(current_iter))
        self._log_validation_metric_values(current_iter, result.name, tb_logger)
        if self.is_train:
            self.progress.log_validation(self.iteration, result.name, self.metric_results)
        if is_best:
            ema = self.net_g_ema if self.ema_decay > 0 else None
            self.checkpoints.write_best(self.history.best, self.get_bare_model(self.net_g), ema)
