"""The examples in docstrings, run where a small network lies."""

from __future__ import annotations

import doctest
import importlib
import shutil

import pytest


@pytest.mark.parametrize('module', ['restoration.restorer', 'spandrel.architectures'])
def test_examples(module, tiny_weights, tmp_path, monkeypatch):
    if module.startswith('spandrel'):
        library = pytest.importorskip('spandrel', reason="spandrel is not installed: pip install '.[spandrel]'")
        # The registry of the process stays as it is.
        ours = importlib.import_module('deeprftv2_arch.spandrel.architectures')
        registry = library.MAIN_REGISTRY.copy()
        monkeypatch.setattr(ours.install, '__defaults__', (registry,))
        monkeypatch.setattr(library.ModelLoader.__init__, '__defaults__', (None, registry))
    shutil.copy(tiny_weights, tmp_path)
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(f'deeprftv2_arch.{module}'))
    assert result.attempted > 0
    assert result.failed == 0
