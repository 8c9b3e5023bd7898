"""Patches of how BasicSR writes and reads checkpoints."""

from __future__ import annotations

from pathlib import Path

from deeprftv2_arch.basicsr_compat.patches.patching import base_model, module, replace, source_has
from deeprftv2_arch.checkpoints.io import (
    mismatch,
    pick_weights,
    plain_state,
    plain_weights,
    read_checkpoint,
    save_checkpoint,
)
from deeprftv2_arch.utils.errors import UserError


def patch_saving() -> bool:
    """Write checkpoints whole or not at all, and stop when one cannot be written.

    BasicSR writes in place, so that an interruption leaves a torn file which `--auto_resume` then picks. When all
    tries fail it logs 'Just ignore it' and trains on without checkpoints; when the third one succeeds it says the same.
    """
    if not source_has(base_model().save_training_state, 'Just ignore it'):
        return False
    master_only = module('utils.dist_util').master_only

    def save_network(self, net, net_label, current_iter, param_key='params'):
        nets = net if isinstance(net, list) else [net]
        keys = param_key if isinstance(param_key, list) else [param_key]
        weights = {key: plain_weights(self.get_bare_model(net)) for key, net in zip(keys, nets, strict=True)}
        label = 'latest' if current_iter == -1 else current_iter
        save_checkpoint(weights, Path(self.opt['path']['models'], f'{net_label}_{label}.pth'))

    def save_training_state(self, epoch, current_iter):
        if current_iter == -1:
            return
        state = plain_state(epoch, current_iter, self.optimizers, self.schedulers)
        save_checkpoint(state, Path(self.opt['path']['training_states'], f'{current_iter}.state'))

    replace(base_model(), 'save_network', master_only(save_network))
    replace(base_model(), 'save_training_state', master_only(save_training_state))
    return True


def patch_loading() -> bool:
    """Say in one message why a checkpoint does not fit, instead of a warning for every key and a RuntimeError.

    Files of other projects keep the weights under another key, or pickle objects that torch 2.6 no longer loads.
    """
    if not source_has(base_model().load_network, 'self._print_different_keys_loading'):
        return False

    def load_network(self, net, load_path, strict=True, param_key='params'):
        net = self.get_bare_model(net)
        content = read_checkpoint(load_path)
        if param_key == 'params_ema' and param_key not in content:
            param_key = 'params'
        weights = pick_weights(content, load_path, param_key)
        differences = mismatch(net.state_dict(), weights)
        if strict and differences:
            raise UserError(f'{load_path} is not a checkpoint of this {type(net).__name__}: {differences}.')
        module('utils').get_root_logger().info(f'Loading {load_path}, key {param_key}, into {type(net).__name__}.')
        if not strict:
            self._print_different_keys_loading(net, weights, strict)
        net.load_state_dict(weights, strict=strict)

    replace(base_model(), 'load_network', load_network)
    return True
