"""BasicSR on today's stack: every quirk of the toolbox that this package knows about, and nothing else.

`basicsr` 1.4.2 dates from 2022. Each `mend_*` function below looks for one fault, mends it in memory if the installed
toolbox has it, and says whether it did. The installed files are never changed. A mended function keeps the toolbox's
own one as its attribute `original`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
import types
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from deeprftv2_arch.checkpoint import mismatch, read_checkpoint, save_checkpoint
from deeprftv2_arch.errors import UserError

WITHOUT = 'DEEPRFTV2_ARCH_WITHOUT'
"""Environment variable naming mends to leave out, separated by commas: to look at a fault, or to test its mend."""

OPTIMIZERS = ('Adam', 'AdamW', 'Adamax', 'SGD', 'ASGD', 'RMSprop', 'Rprop')
"""Classes of `torch.optim` that an option file may name: those of BasicSR's master."""

VALIDATION_TIMEOUT = timedelta(days=1)
"""How long the other processes of a distributed training may wait while rank 0 validates."""

mended: list[str] = []
"""Names of the mends in force, in the order in which they were made."""


# ---------------------------------------------------------------------------------------------------------------------
# The toolbox as a whole


def folder() -> Path | None:
    """The folder of the installed toolbox, found without importing it, or None if there is none.

    Our own `basicsr/` has no `__init__.py`: if nothing else answers to the name, it is found without an origin.
    """
    basicsr = sys.modules.get('basicsr')
    spec = basicsr.__spec__ if basicsr else importlib.util.find_spec('basicsr')
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def being_imported() -> bool:
    """Whether `import basicsr` is under way further up the stack.

    The toolbox imports every `*_arch.py`, `*_dataset.py`... of its own folders while it is itself half imported. That
    is how the files written by `deeprftv2_arch.attach` are reached. `__version__` is the last name that the toolbox's
    `__init__` binds.
    """
    basicsr = sys.modules.get('basicsr')
    return basicsr is not None and not hasattr(basicsr, '__version__')


def on_each_start(call: Callable[[], object]) -> None:
    """Have `call` called whenever a training or test of the toolbox starts: first of all, each parses its options."""
    options = _module('utils.options')
    if hasattr(options.parse_options, 'calls'):
        return

    def parse_options(root_path, is_train=True):
        parse_options.calls()
        return parse_options.original(root_path, is_train)

    parse_options.calls = call
    _replace(options, 'parse_options', parse_options)


def add_to_log(line: Callable[[], str]) -> None:
    """Add a line to what each log file says about the versions in use."""
    logger = _module('utils.logger')
    if hasattr(logger.get_env_info, 'original'):
        return

    def get_env_info():
        return f'{get_env_info.original()}\n\t{line()}'

    _replace(logger, 'get_env_info', get_env_info)


def mend(mends: Iterable[Callable[[], bool]]) -> None:
    """Make those mends that are needed. A second call finds nothing left to do."""
    left_out = os.environ.get(WITHOUT, '').split(',')
    for mend_fault in mends:
        name = mend_fault.__name__.removeprefix('mend_')
        if name not in left_out and mend_fault() and name not in mended:
            mended.append(name)


def _has(function: Callable[..., Any], text: str) -> bool:
    """Whether `function` is the toolbox's own and its source has `text`, by which a fault is known."""
    return not hasattr(function, 'original') and text in inspect.getsource(function)


def _lacks(function: Callable[..., Any], text: str) -> bool:
    """Whether `function` is the toolbox's own and its source has no `text`, by which a cure would be known."""
    return not hasattr(function, 'original') and text not in inspect.getsource(function)


def _replace(owner: type | types.ModuleType, name: str, function: Callable[..., Any]) -> None:
    """Put `function` in the place of `owner.name`, also where modules of the toolbox imported it by name."""
    original = getattr(owner, name)
    function.original = original
    setattr(owner, name, function)
    for module_name, module in list(sys.modules.items()):
        if module_name.partition('.')[0] in ('basicsr', '__main__') and vars(module).get(name) is original:
            setattr(module, name, function)


def _module(name: str) -> types.ModuleType:
    return importlib.import_module(f'basicsr.{name}')


def _base_model() -> type:
    return _module('models.base_model').BaseModel


# ---------------------------------------------------------------------------------------------------------------------
# Mends without which `import basicsr` fails


def mend_distutils() -> bool:
    """Give `basicsr.archs.arch_util` the class that it imports from `distutils`, which Python 3.12 removed.

    setuptools brings a `distutils` of its own, but nothing makes sure that setuptools is there.
    """
    if 'distutils' in sys.modules or importlib.util.find_spec('distutils') is not None:
        return False
    from torch.torch_version import TorchVersion

    distutils = types.ModuleType('distutils', 'Stands in for the package that Python 3.12 removed.')
    distutils.version = types.ModuleType('distutils.version', distutils.__doc__)
    distutils.version.LooseVersion = TorchVersion
    sys.modules.update({'distutils': distutils, 'distutils.version': distutils.version})
    return True


def mend_functional_tensor() -> bool:
    """Give `basicsr.data.degradations` the torchvision module that it imports one function from.

    torchvision 0.17 removed `transforms.functional_tensor`; `rgb_to_grayscale` lives on in `transforms.functional`.
    BasicSR #533, #663 (mended on its master by #650, never released), Real-ESRGAN #879.
    """
    name = 'torchvision.transforms.functional_tensor'
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return False
    if 'functional_tensor' not in (folder() / 'data' / 'degradations.py').read_text(encoding='utf-8'):
        return False
    from torchvision.transforms.functional import rgb_to_grayscale

    stand_in = types.ModuleType(name, 'Stands in for the module that torchvision 0.17 removed.')
    stand_in.rgb_to_grayscale = rgb_to_grayscale
    sys.modules[name] = stand_in
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Mends of the toolbox's parts: in force as soon as its models are imported, also in an attached checkout


def mend_optimizers() -> bool:
    """Let an option file name AdamW, SGD and the others that BasicSR's master knows.

    1.4.2 knows Adam alone and raises NotImplementedError. Mended on master, never released.
    """
    if not _lacks(_base_model().get_optimizer, 'AdamW'):
        return False

    def get_optimizer(self, optim_type, params, lr, **kwargs):
        if optim_type not in OPTIMIZERS:
            raise UserError(f'There is no optimizer {optim_type!r}. Choose one of {", ".join(OPTIMIZERS)}.')
        return getattr(torch.optim, optim_type)(params, lr, **kwargs)

    _replace(_base_model(), 'get_optimizer', get_optimizer)
    return True


def mend_init_dist() -> bool:
    """Start distributed training on a machine without a GPU too, and let rank 0 take its time over validation.

    The toolbox picks a CUDA device and NCCL whatever the machine. With both backends at hand, a run with `num_gpu: 0`
    on a machine with GPUs works as well. While rank 0 validates, the others wait in the next all-reduce and die after
    NCCL's ten minutes. BasicSR #635, #703, NAFNet #63.
    """
    dist_util = _module('utils.dist_util')
    if not _has(dist_util._init_dist_pytorch, 'torch.cuda.set_device(rank % num_gpus)'):
        return False

    def _init_dist_pytorch(backend, **kwargs):
        if torch.cuda.is_available() and dist.is_nccl_available():
            torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', os.environ['RANK'])) % torch.cuda.device_count())
            backend = f'cpu:gloo,cuda:{backend}'
        else:
            backend = 'gloo'
        dist.init_process_group(backend=backend, **{'timeout': VALIDATION_TIMEOUT, **kwargs})

    _replace(dist_util, '_init_dist_pytorch', _init_dist_pytorch)
    return True


def mend_ddp_on_cpu() -> bool:
    """Wrap a network on the CPU in DistributedDataParallel without naming a CUDA device. NAFNet #63, BasicSR #635."""
    if not _has(_base_model().model_to_device, 'device_ids=[torch.cuda.current_device()]'):
        return False

    def model_to_device(self, net):
        if not self.opt['dist'] or self.device.type != 'cpu':
            return model_to_device.original(self, net)
        find_unused_parameters = self.opt.get('find_unused_parameters', False)
        return DistributedDataParallel(net.to(self.device), find_unused_parameters=find_unused_parameters)

    _replace(_base_model(), 'model_to_device', model_to_device)
    return True


def mend_saving() -> bool:
    """Write checkpoints whole or not at all, and stop when one cannot be written.

    The toolbox writes in place, so that an interruption leaves a torn file which `--auto_resume` then picks. When all
    tries fail it logs 'Just ignore it' and trains on without checkpoints; when the third one succeeds it says the same.
    """
    if not _has(_base_model().save_training_state, 'Just ignore it'):
        return False
    master_only = _module('utils.dist_util').master_only

    def save_network(self, net, net_label, current_iter, param_key='params'):
        nets = net if isinstance(net, list) else [net]
        keys = param_key if isinstance(param_key, list) else [param_key]
        weights = {
            key: {k.removeprefix('module.'): v.cpu() for k, v in self.get_bare_model(net).state_dict().items()}
            for key, net in zip(keys, nets, strict=True)
        }
        label = 'latest' if current_iter == -1 else current_iter
        save_checkpoint(weights, Path(self.opt['path']['models'], f'{net_label}_{label}.pth'))

    def save_training_state(self, epoch, current_iter):
        if current_iter == -1:
            return
        state = {
            'epoch': epoch,
            'iter': current_iter,
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
        }
        save_checkpoint(state, Path(self.opt['path']['training_states'], f'{current_iter}.state'))

    _replace(_base_model(), 'save_network', master_only(save_network))
    _replace(_base_model(), 'save_training_state', master_only(save_training_state))
    return True


def mend_loading() -> bool:
    """Say in one message why a checkpoint does not fit, instead of a warning for every key and a RuntimeError.

    Files of other projects keep the weights under another key, or pickle objects that torch 2.6 no longer loads.
    """
    if not _has(_base_model().load_network, 'self._print_different_keys_loading'):
        return False

    def load_network(self, net, load_path, strict=True, param_key='params'):
        net = self.get_bare_model(net)
        content = read_checkpoint(load_path)
        if param_key == 'params_ema' and param_key not in content:
            param_key = 'params'
        if param_key is not None and param_key not in content:
            raise UserError(
                f'{load_path} has no weights under the key {param_key!r}, only {", ".join(map(str, content))[:200]}. '
                'Set path.param_key_g (~ if the file is a bare state dict).'
            )
        weights = content if param_key is None else content[param_key]
        weights = {key.removeprefix('module.'): value for key, value in weights.items()}
        differences = mismatch(net.state_dict(), weights)
        if strict and differences:
            raise UserError(f'{load_path} is not a checkpoint of this {type(net).__name__}: {differences}.')
        _module('utils').get_root_logger().info(f'Loading {load_path}, key {param_key}, into {type(net).__name__}.')
        if not strict:
            self._print_different_keys_loading(net, weights, strict)
        net.load_state_dict(weights, strict=strict)

    _replace(_base_model(), 'load_network', load_network)
    return True


def mend_prefetch() -> bool:
    """Let an exception in the thread of `prefetch_mode: cpu` reach the training loop, which else waits for ever."""
    generator = _module('data.prefetch_dataloader').PrefetchGenerator
    if not _lacks(generator.run, 'except'):
        return False

    def run(self):
        try:
            run.original(self)
        except Exception as error:
            self.queue.put(error)

    def next_item(self):
        item = self.queue.get()
        if isinstance(item, Exception):
            raise item
        if item is None:
            raise StopIteration
        return item

    _replace(generator, 'run', run)
    _replace(generator, '__next__', next_item)
    return True


def mend_last_iteration() -> bool:
    """Report the validation after training under the last iteration, not under the one or two that never took place."""
    if not _has(_base_model().validation, 'nondist_validation'):
        return False

    def validation(self, dataloader, current_iter, tb_logger, save_img=False):
        if self.is_train:
            current_iter = min(current_iter, int(self.opt['train']['total_iter']))
        validation.original(self, dataloader, current_iter, tb_logger, save_img)

    _replace(_base_model(), 'validation', validation)
    return True


def mend_local_rank() -> bool:
    """Accept `--local-rank`, which `torch.distributed.launch` of torch 2 passes. BasicSR #626."""
    options = _module('utils.options')
    if not _lacks(options.parse_options, '--local-rank'):
        return False

    def parse_options(root_path, is_train=True):
        sys.argv[1:] = [re.sub('^--local-rank(?==|$)', '--local_rank', argument) for argument in sys.argv[1:]]
        return parse_options.original(root_path, is_train)

    _replace(options, 'parse_options', parse_options)
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Mends of the training script: of the module `basicsr.train`, or of an attached checkout's `basicsr/train.py` at work


def mend_resume() -> bool:
    """Resume without a GPU too, and let `--auto_resume` look where the training saves.

    The toolbox asks for the current CUDA device on any machine, and looks for `experiments` below the current folder
    even if the results go elsewhere. BasicSR #18, #64, #114, #464.
    """
    found = False
    for script in (sys.modules.get('basicsr.train'), sys.modules['__main__']):
        original = getattr(script, 'load_resume_state', None)
        if original is not None and _has(original, 'torch.cuda.current_device()'):
            _replace(script, 'load_resume_state', _load_resume_state)
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
    _module('utils').check_resume(opt, state['iter'])
    return state


BEFORE_IMPORT = (mend_distutils, mend_functional_tensor)
WITH_MODELS = (
    mend_optimizers,
    mend_init_dist,
    mend_ddp_on_cpu,
    mend_saving,
    mend_loading,
    mend_prefetch,
    mend_last_iteration,
    mend_local_rank,
)
AT_START = (mend_resume,)
