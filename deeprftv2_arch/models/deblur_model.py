"""How DeepRFTv2 is trained and validated inside BasicSR's loop; other networks can take part."""

from __future__ import annotations

import inspect
import math
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import Any, ClassVar

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deeprftv2_arch.checkpoints.io import read_checkpoint
from deeprftv2_arch.checkpoints.load import load_weights
from deeprftv2_arch.config.schema import DeblurOptions, read_sections
from deeprftv2_arch.config.stages import read_stages, stage_of
from deeprftv2_arch.models.journal import Journal
from deeprftv2_arch.models.optimization import build_optimizer, build_scheduler
from deeprftv2_arch.models.progress import TrainingBar
from deeprftv2_arch.models.saving import CheckpointedModel
from deeprftv2_arch.models.supervision import supervise
from deeprftv2_arch.utils.errors import UserError

LOSSES = {'pixel_opt': 'l_pix', 'fft_opt': 'l_fft', 'perceptual_opt': 'l_percep'}
"""Name in the log of each loss that an option file can ask for."""


@MODEL_REGISTRY.register()
class DeblurModel(CheckpointedModel):
    """The released training of DeepRFTv2: multi-scale supervision, AdamW, cosine annealing, gradient clipping.

    A network whose ``forward`` takes ``return_all`` is asked for all its outputs, one list per scale, and every one is
    supervised. Any other network is supervised on its one output at full resolution.

    Sections of the option file that are read beyond those of BasicSR's ``SRModel``:

    * ``train.pixel_opt``, ``train.fft_opt``, ``train.perceptual_opt``: losses, at least one.
    * ``train.optim_g``: one of the optimizers of BasicSR's master. AdamW, the default, starts
      from the released lr 1e-3, betas (0.9, 0.9) and weight decay 1e-3.
    * ``train.scheduler``: ``CosineAnnealingLR`` (default) with ``T_max`` (default ``total_iter``) and ``eta_min``
      (default 1e-7), stepped every iteration; or a scheduler of BasicSR.
    * ``train.grad_clip``: largest 2-norm of the whole gradient, default 0.01; 0 for none.
    * ``train.amp``, ``train.tf32``, ``train.channels_last``, ``train.compile``, and the same under ``val``: see
      :class:`~deeprftv2_arch.models.precision.Precision`.
    * ``train.ema_decay``: decay of a running mean of the weights, default 0 for none.
    * ``train.stages``: crops and batches of a progressive training, see
      :func:`~deeprftv2_arch.config.stages.read_stages`; or ``train.accumulate``: micro batches of one
      step, default 1. Iterations are steps of the optimizer.
    * ``train.max_bad_steps``: how many steps in a row may be skipped because the loss or its gradient is not finite,
      default 10.
    * ``path.strict_load_except_g``: parts of the network, by name, that ``path.pretrain_network_g`` is not loaded into.
    * ``logger.pbar``: progress bar over the training; by default where stderr is a terminal.

    Raises:
        UserError: For wrong options, checkpoints that do not fit, images that are not finite, and losses that stay so.
    """

    plans_batches = True
    """That the loader is to follow the stages: see the patch ``batches``."""

    Options: ClassVar[type[DeblurOptions]] = DeblurOptions
    """The keys that may stand in an option file, see :mod:`deeprftv2_arch.config.options`."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.options = read_sections(self.Options, opt, type(self).__name__)
        self.bar: TrainingBar | None = None
        self.journal: Journal | None = None
        super().__init__(opt)

    # Set-up

    @master_only
    def print_network(self, net: nn.Module) -> None:
        """Log the name and the size of the network; its modules fill thousands of lines."""
        net = self.get_bare_model(net)
        parameters = sum(parameter.numel() for parameter in net.parameters())
        get_root_logger().info(f'Network {type(net).__name__} with {parameters:,} parameters.')

    def init_training_settings(self) -> None:
        """Build losses, optimizer, schedule and, if asked for, the running mean of the weights."""
        options, train = self.opt['train'], self.options.train
        assert train is not None  # of every training; this is for type checkers
        self.net_g.train()
        self.returns_all = 'return_all' in inspect.signature(self.get_bare_model(self.net_g).forward).parameters
        self.criteria = {
            name: build_loss(options[key]).to(self.device) for key, name in LOSSES.items() if options.get(key)
        }
        if not self.criteria:
            raise UserError(f'train: no loss is given. Add {" or ".join(LOSSES)}.')
        self.grad_clip, self.ema_decay, self.max_bad_steps = train.grad_clip, train.ema_decay, train.max_bad_steps
        self.stages = read_stages(self.opt)
        self.stage = None
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
        self.trained_parameters = [parameter for name, parameter in parameters.items() if name not in frozen]
        self.optimizer_g = build_optimizer(self.trained_parameters, self.options.train)
        self.optimizers.append(self.optimizer_g)

    def setup_schedulers(self) -> None:
        """Build the schedule of the learning rate."""
        self.schedulers = [build_scheduler(optimizer, self.options.train) for optimizer in self.optimizers]

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
        parts = () if paths.get('resume_state') else paths.get('strict_load_except_g') or ()
        anew = load_weights(self.get_bare_model(net), load_path, param_key, parts)
        but = f', but for what starts anew (path.strict_load_except_g): {", ".join(anew)}' if anew else ''
        get_root_logger().info(f'Loaded {load_path}, key {param_key}{but}.')

    # Training

    def optimize_parameters(self, current_iter: int) -> None:
        """Do one iteration on the batch that was fed: one step of the optimizer, unless its gradient is not finite."""
        self._enter_stage(current_iter)
        self.optimizer_g.zero_grad()
        terms = self._accumulate_gradient(self.stage.accumulation)
        total = torch.stack(list(terms.values())).sum()
        norm = nn.utils.clip_grad_norm_(self.trained_parameters, self.grad_clip or float('inf'))
        if self._is_finite(total, norm):
            self.bad_steps['in_a_row'] = 0
            self.optimizer_g.step()
            if self.ema_decay > 0:
                self.model_ema(self.ema_decay)
        else:
            self._skip_step(total, norm, current_iter)
        self.log_dict = self.reduce_loss_dict({**terms, 'l_total': total, 'grad_norm': norm})
        if self.bad_steps['total']:
            self.log_dict['bad_steps'] = self.bad_steps['total']
        self._show_progress(current_iter)

    def get_current_log(self) -> dict[str, float]:
        """The values of the last iteration, for the log; they are written to the value log as well."""
        if self.journal is not None:
            crop, rate = tuple(self.gt.shape[-2:]), self.get_current_learning_rate()[0]
            self.journal.training(self.iteration, self.log_dict, rate, crop)
        return super().get_current_log()

    def _log_validation_metric_values(self, current_iter: int | str, dataset_name: str, tb_logger: Any) -> None:
        super()._log_validation_metric_values(current_iter, dataset_name, tb_logger)
        if self.journal is not None:
            self.journal.validation(self.iteration, dataset_name, self.metric_results)

    def _enter_stage(self, current_iter: int) -> None:
        stage = stage_of(self.stages, current_iter)
        if stage != self.stage:
            self.stage = stage
            number = f'{self.stages.index(stage) + 1} of {len(self.stages)}'
            get_root_logger().info(f'Stage {number}: {stage}.')

    def _accumulate_gradient(self, steps: int) -> dict[str, Tensor]:
        """Work on the batch in ``steps`` micro batches; gradient and loss terms are those of the whole batch."""
        size = math.ceil(len(self.lq) / steps)
        batches = list(zip(self.lq.split(size), self.gt.split(size), strict=True))
        sums: dict[str, Tensor] = {}
        restored = []
        for done, (lq, gt) in enumerate(batches, 1):
            with self._gradients_stay_here() if done < len(batches) else nullcontext():
                run = partial(self.precision['train'].run, self.net_g, lq)
                outputs = run(return_all=True) if self.returns_all else [[run()]]
                share = len(lq) / len(self.lq)
                terms = {name: term * share for name, term in supervise(self.criteria, outputs, gt).items()}
                torch.stack(list(terms.values())).sum().backward()
            sums = {name: sums.get(name, 0) + term.detach() for name, term in terms.items()}
            restored.append(outputs[0][-1].detach())
        self.output = torch.cat(restored)
        return sums

    def _gradients_stay_here(self) -> AbstractContextManager:
        """Processes exchange their gradients once a step, after the last micro batch."""
        return self.net_g.no_sync() if isinstance(self.net_g, DistributedDataParallel) else nullcontext()

    @torch.no_grad()
    def model_ema(self, decay: float = 0.999) -> None:
        """Move the running mean of the weights towards the weights; buffers are copied."""
        net = self.get_bare_model(self.net_g)
        for mean, parameter in zip(self.net_g_ema.parameters(), net.parameters(), strict=True):
            mean.lerp_(parameter, 1 - decay)
        for copy, buffer in zip(self.net_g_ema.buffers(), net.buffers(), strict=True):
            copy.copy_(buffer)

    def _is_finite(self, total: Tensor, norm: Tensor) -> bool:
        """Whether loss and gradient are finite in every process: all of them step, or none."""
        finite = (total.isfinite() & norm.isfinite()).int()
        if self.opt['dist']:
            torch.distributed.all_reduce(finite, torch.distributed.ReduceOp.MIN)
        return bool(finite)

    def _skip_step(self, total: Tensor, norm: Tensor, current_iter: int) -> None:
        """Leave the weights as they are, and count.

        Raises:
            UserError: If images are damaged, or if too many steps were skipped in a row.
        """
        damaged = self._damaged_images()
        if self.opt['dist']:
            shares: list[list[str]] = [[] for _ in range(self.opt['world_size'])]
            torch.distributed.all_gather_object(shares, damaged)
            damaged = list(chain.from_iterable(shares))
        if damaged:
            self._close_bar()
            raise UserError(f'NaN or infinite pixels in {", ".join(damaged)}. Repair or remove these images.')
        self.bad_steps = {key: count + 1 for key, count in self.bad_steps.items()}
        found = (
            f'Iteration {current_iter}: the loss ({total.item():g}) or the norm of its gradient ({norm.item():g}) is '
            'not finite, though the images are'
        )
        get_root_logger().warning(
            f'{found}. The step is skipped: {self.bad_steps["in_a_row"]} in a row, {self.bad_steps["total"]} in all.'
        )
        if self.bad_steps['in_a_row'] >= self.max_bad_steps:
            self._close_bar()
            raise UserError(
                f'{found}: {self.max_bad_steps} such steps in a row, the limit of train.max_bad_steps. '
                f'{self.restart_hint()} with a lower train.optim_g.lr.'
            )

    def _close_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()

    @master_only
    def _show_progress(self, current_iter: int) -> None:
        self.iteration = current_iter
        images = len(self.gt) * self.opt['world_size']
        if self.journal is None:
            self.journal = Journal(self.opt['path']['experiments_root'], done=current_iter - 1)
        self.journal.saw(images)
        shown = self.opt['logger'].get('pbar')
        if not (sys.stderr.isatty() if shown is None else shown):
            return
        if self.bar is None:
            self.bar = TrainingBar(total=int(self.opt['train']['total_iter']), done=current_iter - 1)
        self.bar.update(
            self.log_dict['l_total'], self.get_current_learning_rate()[0], tuple(self.gt.shape[-2:]), images
        )
