"""`deeprftv2 page`: what is said when the page cannot be served, and what weights are called on it."""

from __future__ import annotations

import importlib.util
import socket
import sys

import pytest

from deeprftv2_arch.cli import page
from deeprftv2_arch.utils.errors import UserError

needs_gradio = pytest.mark.skipif(importlib.util.find_spec('gradio') is None, reason='gradio is not installed')


def test_without_gradio(monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    with pytest.raises(UserError) as caught:
        page.main([])
    assert str(caught.value) == "The page needs the package gradio. Try: pip install 'deeprftv2_arch[page]'"


@needs_gradio
def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r'none\.safetensors'):
        page.main(['--weights', str(tmp_path / 'none.safetensors')])


@needs_gradio
def test_a_port_that_is_taken(monkeypatch):
    from deeprftv2_arch.page import server

    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf'^Port {port} is not free\. Choose another one with --port\.$'):
            server.serve({'a': None}, port=port, opens_browser=False, max_megapixels=1)


def test_names_of_weights():
    files = ['a/x.pth', 'b/x.pth', 'b/y.pth', None]
    assert page.names(files) == ['a/x.pth', 'b/x.pth', 'y.pth', page.SHIPPED_NAME]
