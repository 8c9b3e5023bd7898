"""The examples in docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest
from processes import ROOT

import deeprftv2_arch  # noqa: F401  # patches BasicSR, which modules with examples import

# Their examples load weights: tests/restoration/test_restorer_examples.py runs them beside a file of weights.
WITH_WEIGHTS = {'deeprftv2_arch.restoration.restorer', 'deeprftv2_arch.spandrel.architectures'}

SOURCES = sorted(ROOT.joinpath('deeprftv2_arch').rglob('*.py'))
WITH_EXAMPLES = {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in SOURCES
    if '>>> ' in path.read_text(encoding='utf-8')
}
MODULES = sorted(WITH_EXAMPLES - WITH_WEIGHTS)


def test_there_are_examples():
    assert {'deeprftv2_arch.metrics.pixelwise', 'deeprftv2_arch.losses.frequency_loss'} <= set(MODULES)


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
