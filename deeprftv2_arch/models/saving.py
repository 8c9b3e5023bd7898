"""What a model writes so that a training can go on exactly, which of it is kept, and how it is taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import distributed as dist
from torch.utils.data import DataLoader

from deeprftv2_arch.checkpoints.io import plain_state, plain_weights, read_checkpoint, save_checkpoint
from deeprftv2_arch.checkpoints.resume import training_fingerprint
from deeprftv2_arch.config.schema import DeblurOptions
from deeprftv2_arch.evaluation.scores import better
from deeprftv2_arch.evaluation.validation import ValidatedModel
from deeprftv2_arch.utils.rng import preserve_rng_state, random_state, set_random_state


class CheckpointedModel(ValidatedModel):
    """Checkpoints of a training: complete, pruned, and the best one beside them.

    * ``logger.keep_checkpoints``: how many of the numbered checkpoints stay, the newest ones; by default all.
    * ``val.best``: a name out of ``val.metrics``. The weights with its best value, on the first of the validation sets,
      are kept as ``models/net_g_best.pth``.
    * ``val.patience``: after how many validations in a row without a better value of ``val.best`` the training ends.
    """

    options: DeblurOptions

    def __init__(self, opt: dict[str, Any]) -> None:
        self.bad_steps = {'in_a_row': 0, 'total': 0}
        self.best: dict[str, Any] | None = None
        self.stop_reason = ''
        self.validations: dict[int, dict[str, Any]] = {}
        if opt['is_train']:
            self.record = training_fingerprint(opt)
            logger, val = self.options.logger, self.options.val
            self.keep = logger.keep_checkpoints if logger else None
            self.best_by = val.best if val else None
            self.patience = val.patience if val else None
        super().__init__(opt)

    def save(self, epoch: int, current_iter: int) -> None:
        """Write weights, then the state; all processes take part. The weights alone after the last iteration (-1)."""
        self.random_states = [random_state()]
        if self.opt['dist'] and current_iter != -1:
            self.random_states *= self.opt['world_size']
            dist.all_gather_object(self.random_states, self.random_states[0])
        super().save(epoch, current_iter)
        if current_iter != -1 and self.keep is not None:
            self._prune(current_iter)

    @master_only
    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write all that the next iterations depend on beside the weights."""
        if current_iter == -1:
            return
        state = {
            **plain_state(epoch, current_iter, self.optimizers, self.schedulers),
            'random': self.random_states,
            'bad_steps': self.bad_steps,
            **self._known(),
            'options': self.record,
            **{key: self.opt[key] for key in ('manual_seed', 'data') if key in self.opt},
        }
        save_checkpoint(state, self._state(current_iter))

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a state; one that BasicSR itself wrote lacks the random numbers and the history."""
        super().resume_training(resume_state)
        self.bad_steps = dict(resume_state.get('bad_steps', self.bad_steps))
        self._resume_validations(resume_state)
        states = resume_state.get('random', [])
        if self.opt['rank'] < len(states):
            set_random_state(states[self.opt['rank']])
        elif self.opt['rank'] == 0:
            get_root_logger().warning('This state was written by another program: random numbers begin anew.')
        # The data tell in which epoch the next iteration lies.
        resume_state['epoch'] = self.opt.get('start_epoch', resume_state['epoch'])

    def _resume_validations(self, resume_state: Mapping[str, Any]) -> None:
        """What was known after the resumed iteration: its own validation came after its state was written."""
        if self._validations().is_file():
            history = read_checkpoint(self._validations())
            self.validations = {number: known for number, known in history.items() if number <= resume_state['iter']}
        known = self.validations[max(self.validations)] if self.validations else resume_state
        if 'best_metric_results' in known:
            self.best_metric_results = deepcopy(known['best_metric_results'])
        if known.get('best') and known['best']['metric'] == self.best_by:
            self.best = dict(known['best'])

    @master_only
    def _record_validation(self, current_iter: int) -> None:
        self.validations[current_iter] = deepcopy(self._known())
        save_checkpoint(self.validations, self._validations())

    def _known(self) -> dict[str, Any]:
        """What a training knows from its validations so far."""
        return {'best': self.best, 'best_metric_results': getattr(self, 'best_metric_results', {})}

    def validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> None:
        """Validate, without a trace in the training that goes on, and keep the weights if they are the best so far."""
        with preserve_rng_state():
            super().validation(dataloader, current_iter, tb_logger, save_img)
        if self.is_train and self.best_by is not None:
            self._compare_with_best(dataloader.dataset.opt['name'], current_iter)
        if self.is_train:
            self._record_validation(current_iter)

    def restart_hint(self) -> str:
        """What to begin again from: the newest checkpoint, or nothing. The sentence may go on."""
        states = [path for path in self._state(0).parent.glob('*.state') if path.stem.isdigit()]
        if not states:
            return 'No checkpoint was saved before. Begin anew'
        newest = self._weights(max(int(path.stem) for path in states))
        return (
            f'The last good checkpoint is {newest}. Begin a training under another name from those weights, with '
            'path.pretrain_network_g and'
        )

    def _compare_with_best(self, data: str, current_iter: int | str) -> None:
        """Keep the weights if they are the best so far; count the validations since. All processes see the same."""
        if self.best is not None and data != self.best['data']:
            return
        value = self.metric_results[self.best_by]
        higher = better(self.opt['val']['metrics'][self.best_by]) == 'higher'
        if self.best is None or (value > self.best['value'] if higher else value < self.best['value']):
            self.best = {'data': data, 'metric': self.best_by, 'value': value, 'iter': current_iter, 'since': 0}
            self._keep_best()
            return
        self.best['since'] += 1
        if self.patience is not None and self.best['since'] >= self.patience:
            self.stop_reason = (
                f'{self.best_by} on {data} has not improved in {self.best["since"]} validations (val.patience); its '
                f'best, {self.best["value"]:.4f}, is of iteration {self.best["iter"]}: {self._weights("best")}.'
            )

    @master_only
    def _keep_best(self) -> None:
        nets = {'params': self.net_g, 'params_ema': getattr(self, 'net_g_ema', None)}
        weights = {key: plain_weights(self.get_bare_model(net)) for key, net in nets.items() if net is not None}
        save_checkpoint({**weights, 'best': self.best}, self._weights('best'))
        get_root_logger().info(
            f'Best {self.best_by} on {self.best["data"]} so far: {self.best["value"]:.4f}. Kept '
            f'{self._weights("best").name}.'
        )

    @master_only
    def _prune(self, current_iter: int) -> None:
        """Remove old checkpoints, each state before its weights, so that no state is left without them."""
        folder = Path(self.opt['path']['training_states'])
        written = sorted(int(path.stem) for path in folder.glob('*.state') if path.stem.isdigit())
        # Those after this one were found unusable when the training was resumed; they do not count.
        for iteration in [number for number in written if number <= current_iter][: -self.keep]:
            self._state(iteration).unlink(missing_ok=True)
            self._weights(iteration).unlink(missing_ok=True)

    def _state(self, iteration: int) -> Path:
        return Path(self.opt['path']['training_states'], f'{iteration}.state')

    def _validations(self) -> Path:
        return Path(self.opt['path']['training_states'], 'validations.pth')

    def _weights(self, label: int | str) -> Path:
        return Path(self.opt['path']['models'], f'net_g_{label}.pth')
