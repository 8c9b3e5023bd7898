"""Mends of the training script: of the module `basicsr.train`, or of an attached checkout's `basicsr/train.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from deeprftv2_arch.checkpoint import read_checkpoint
from deeprftv2_arch.toolbox.access import has, module, replace


def mend_resume() -> bool:
    """Resume without a GPU too, and let `--auto_resume` look where the training saves.

    The toolbox asks for the current CUDA device on any machine, and looks for `experiments` below the current folder
    even if the results go elsewhere. BasicSR #18, #64, #114, #464.
    """
    found = False
    for script in (sys.modules.get('basicsr.train'), sys.modules['__main__']):
        original = getattr(script, 'load_resume_state', None)
        if original is not None and has(original, 'torch.cuda.current_device()'):
            replace(script, 'load_resume_state', _load_resume_state)
            found = True
    return found


def _load_resume_state(opt):
    if opt['auto_resume']:
        states = [p for p in Path(opt['path']['training_states']).glob('*.state') if p.stem.isdigit()]
        opt['path']['resume_state'] = str(max(states, key=lambda p: int(p.stem))) if states else None
    path = opt['path'].get('resume_state')
    if path is None:
        return None
    # The optimizers move their state to the device of their parameters.
    state = read_checkpoint(path)
    module('utils').check_resume(opt, state['iter'])
    return state
