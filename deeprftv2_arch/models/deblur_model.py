"""How DeepRFTv2 is trained and validated inside BasicSR's loop; other networks can take part."""

from __future__ import annotations

import inspect
import sys
from itertools import chain
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn

from deeprftv2_arch.checkpoint import read_checkpoint
from deeprftv2_arch.errors import UserError
from deeprftv2_arch.models.optimization import RELEASED_GRAD_CLIP, build_optimizer, build_scheduler
from deeprftv2_arch.models.progress import TrainingBar
from deeprftv2_arch.models.supervision import supervise
from deeprftv2_arch.models.validation import ValidatedModel
from deeprftv2_arch.models.weights import load_weights
from deeprftv2_arch.option_keys import number, reject_unknown_keys

LOSSES = {'pixel_opt': 'l_pix', 'fft_opt': 'l_fft', 'perceptual_opt': 'l_percep'}
"""Name in the log of each loss that an option file can ask for."""

_TRAIN_KEYS = (*LOSSES, 'total_iter', 'warmup_iter', 'optim_g', 'scheduler', 'grad_clip', 'ema_decay')


@MODEL_REGISTRY.register()
class DeblurModel(ValidatedModel):
    """The released training of DeepRFTv2: multi-scale supervision, AdamW, cosine annealing, gradient clipping.

    A network whose ``forward`` takes ``return_all`` is asked for all its outputs, one list per scale, and every one is
    supervised. Any other network is supervised on its one output at full resolution.

    Sections of the option file that are read beyond those of the toolbox's ``SRModel``:

    * ``train.pixel_opt``, ``train.fft_opt``, ``train.perceptual_opt``: losses, at least one.
    * ``train.optim_g``: one of the optimizers of BasicSR's master. AdamW, the default, starts
      from the released lr 1e-3, betas (0.9, 0.9) and weight decay 1e-3.
    * ``train.scheduler``: ``CosineAnnealingLR`` (default) with ``T_max`` (default ``total_iter``) and ``eta_min``
      (default 1e-7), stepped every iteration; or a scheduler of the toolbox.
    * ``train.grad_clip``: largest 2-norm of the whole gradient, default 0.01; 0 for none.
    * ``train.ema_decay``: decay of a running mean of the weights, default 0 for none.
    * ``logger.pbar``: progress bar over the training; by default where stderr is a terminal.

    Raises:
        UserError: For wrong options, checkpoints that do not fit, and images or losses that are not finite.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        if opt['is_train']:
            reject_unknown_keys(opt['train'], _TRAIN_KEYS, 'train')
        self.bar: TrainingBar | None = None
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
        options = self.opt['train']
        self.net_g.train()
        self.returns_all = 'return_all' in inspect.signature(self.get_bare_model(self.net_g).forward).parameters
        self.criteria = {
            name: build_loss(options[key]).to(self.device) for key, name in LOSSES.items() if options.get(key)
        }
        if not self.criteria:
            raise UserError(f'train: no loss is given. Add {" or ".join(LOSSES)}.')
        self.grad_clip = number({'grad_clip': RELEASED_GRAD_CLIP, **options}, 'grad_clip', 'train')
        self.ema_decay = number({'ema_decay': 0, **options}, 'ema_decay', 'train')
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
        self.optimizer_g = build_optimizer(self.trained_parameters, self.opt['train'])
        self.optimizers.append(self.optimizer_g)

    def setup_schedulers(self) -> None:
        """Build the schedule of the learning rate."""
        self.schedulers = [build_scheduler(optimizer, self.opt['train']) for optimizer in self.optimizers]

    def load_network(
        self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = 'params'
    ) -> None:
        """Load weights, which must fit the network exactly; see :func:`~deeprftv2_arch.models.weights.load_weights`.

        Raises:
            UserError: If they do not, or if ``strict`` is false: a network that is loaded in part restores nothing.
        """
        if not strict:
            raise UserError('path.strict_load_g: weights are only loaded whole. Remove the key, or write true.')
        load_weights(self.get_bare_model(net), load_path, param_key)
        get_root_logger().info(f'Loaded {load_path}, key {param_key}.')

    # Training

    def optimize_parameters(self, current_iter: int) -> None:
        """Do one iteration on the batch that was fed."""
        self.optimizer_g.zero_grad()
        outputs = self.net_g(self.lq, return_all=True) if self.returns_all else [[self.net_g(self.lq)]]
        terms = supervise(self.criteria, outputs, self.gt)
        total = torch.stack(list(terms.values())).sum()
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.trained_parameters, self.grad_clip or float('inf'))
        self._require_finite(total, norm, current_iter)
        self.optimizer_g.step()
        if self.ema_decay > 0:
            self.model_ema(self.ema_decay)
        self.output = outputs[0][-1].detach()
        self.log_dict = self.reduce_loss_dict({**terms, 'l_total': total, 'grad_norm': norm})
        self._show_progress(current_iter)

    @torch.no_grad()
    def model_ema(self, decay: float = 0.999) -> None:
        """Move the running mean of the weights towards the weights; buffers are copied."""
        net = self.get_bare_model(self.net_g)
        for mean, parameter in zip(self.net_g_ema.parameters(), net.parameters(), strict=True):
            mean.lerp_(parameter, 1 - decay)
        for copy, buffer in zip(self.net_g_ema.buffers(), net.buffers(), strict=True):
            copy.copy_(buffer)

    def _require_finite(self, total: Tensor, norm: Tensor, current_iter: int) -> None:
        """Stop all processes together, before the weights are touched, if any loss or gradient is not finite."""
        finite = (total.detach().isfinite() & norm.isfinite()).int()
        if self.opt['dist']:
            torch.distributed.all_reduce(finite, torch.distributed.ReduceOp.MIN)
        if finite:
            return
        damaged = self._damaged_images()
        if self.opt['dist']:
            shares: list[list[str]] = [[] for _ in range(self.opt['world_size'])]
            torch.distributed.all_gather_object(shares, damaged)
            damaged = list(chain.from_iterable(shares))
        if self.bar is not None:
            self.bar.close()
        if damaged:
            raise UserError(f'NaN or infinite pixels in {", ".join(damaged)}. Repair or remove these images.')
        raise UserError(
            f'Iteration {current_iter}: the loss ({total.item():g}) or the norm of its gradient ({norm.item():g}) is '
            'not finite, though the images are. Resume from the last checkpoint with a lower train.optim_g.lr.'
        )

    @master_only
    def _show_progress(self, current_iter: int) -> None:
        if self.bar is None:
            shown = self.opt['logger'].get('pbar')
            if not (sys.stderr.isatty() if shown is None else shown):
                return
            self.bar = TrainingBar(total=int(self.opt['train']['total_iter']), done=current_iter - 1)
        images = len(self.gt) * self.opt['world_size']
        self.bar.update(
            self.log_dict['l_total'], self.get_current_learning_rate()[0], tuple(self.gt.shape[-2:]), images
        )
