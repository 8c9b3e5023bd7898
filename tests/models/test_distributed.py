"""Two processes train as one, share the validation, and stop together."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from two_processes import in_two_processes

from deeprftv2_arch.utils.errors import UserError


def half_of(batch, rank: int):
    return {key: value[rank : rank + 1] for key, value in batch.items()}


def train_and_validate(rank, make_model, train_for, batch, data, folder) -> None:
    model = make_model(dist=True, rank=rank, world_size=2)
    train_for(model, half_of(batch, rank), range(1, 3))
    model.validation(data, 2, None)
    train_for(model, half_of(batch, rank), range(3, 4))
    log = model.get_current_log()
    torch.save({'weights': model.get_bare_model(model.net_g).state_dict(), 'log': log}, folder / f'{rank}.pth')


def test_two_processes_train_as_one(make_model, train_for, batch, write_pairs, tmp_path):
    from deblur_models import loader

    in_two_processes(train_and_validate, make_model, train_for, batch, loader(write_pairs()), tmp_path)
    alone = make_model()
    train_for(alone, batch, range(1, 4))
    first, second = (torch.load(tmp_path / f'{rank}.pth') for rank in range(2))
    for key, value in alone.net_g.state_dict().items():
        assert torch.equal(first['weights'][key], second['weights'][key])
        torch.testing.assert_close(first['weights'][key], value, rtol=0, atol=1e-6)
    for name, value in alone.get_current_log().items():
        assert first['log'][name] == pytest.approx(value, rel=1e-4)


def stop(rank, make_model, train_for, batch, folder) -> None:
    model = make_model(dist=True, rank=rank, world_size=2)
    with pytest.raises(UserError) as caught:
        train_for(model, half_of(batch, rank), range(1, 2))
    Path(folder / f'{rank}.txt').write_text(str(caught.value))


def test_damaged_image_of_one_process_stops_both_and_is_named_by_both(make_model, train_for, batch, tmp_path):
    damaged = deepcopy(batch)
    damaged['lq'][1, 2, 3, 4] = float('inf')
    in_two_processes(stop, make_model, train_for, damaged, tmp_path)
    for rank in range(2):
        assert (tmp_path / f'{rank}.txt').read_text().startswith('NaN or infinite pixels in blur/b.png. ')


REVERSIBLE = {
    'type': 'DeepRFTv2',
    'width': 4,
    'num_blocks': [1, 1],
    'block_types': [['naf', 'nafevs'], ['naf', 'naf']],
    'reversible': True,
}


@pytest.fixture
def four() -> dict[str, torch.Tensor]:
    """Four pairs of noise."""
    generator = torch.Generator().manual_seed(2)
    return {role: torch.rand(4, 3, 32, 32, generator=generator) for role in ('lq', 'gt')}


def accumulating(make_model, accumulate: int, **options):
    # SGD: Adam would blow a difference of rounding in a small gradient up to a whole step.
    settings = {'optim_g': {'type': 'SGD', 'lr': 0.1}, 'grad_clip': 1, 'ema_decay': 0.5, 'accumulate': accumulate}
    return make_model(network_g=REVERSIBLE, train=settings, **options)


def train_reversibly(rank, make_model, train_for, four, folder) -> None:
    model = accumulating(make_model, 2, dist=True, rank=rank, world_size=2)
    train_for(model, {role: images[rank::2] for role, images in four.items()}, range(1, 4))
    nets = (model.get_bare_model(model.net_g), model.net_g_ema)
    torch.save([net.state_dict() for net in nets] + [model.get_current_log()], folder / f'{rank}.pth')


def test_reversible_columns_accumulation_and_ema_in_two_processes(make_model, train_for, four, tmp_path):
    in_two_processes(train_reversibly, make_model, train_for, four, tmp_path)
    alone = accumulating(make_model, 1)
    before = {key: value.clone() for key, value in alone.net_g.state_dict().items()}
    train_for(alone, four, range(1, 4))
    first, second = (torch.load(tmp_path / f'{rank}.pth') for rank in range(2))
    for net, one, other in zip((alone.net_g, alone.net_g_ema), first[:2], second[:2], strict=True):
        moved = 0.0
        for key, value in net.state_dict().items():
            assert torch.equal(one[key], other[key])
            torch.testing.assert_close(one[key], value, rtol=1e-5, atol=1e-6)
            moved = max(moved, (value - before[key]).abs().max().item())
        assert moved > 1e-2
    for name, value in alone.get_current_log().items():
        assert first[2][name] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize('accumulate', [2, 4])
def test_accumulated_gradient_is_that_of_the_whole_batch(make_model, train_for, four, accumulate):
    whole, parts = accumulating(make_model, 1), accumulating(make_model, accumulate)
    for model in (whole, parts):
        train_for(model, four, range(1, 3))
    for key, value in whole.net_g.state_dict().items():
        torch.testing.assert_close(parts.net_g.state_dict()[key], value, rtol=1e-5, atol=1e-6)
    assert parts.output.shape == whole.output.shape
    assert parts.get_current_log()['l_total'] == pytest.approx(whole.get_current_log()['l_total'], rel=1e-5)
