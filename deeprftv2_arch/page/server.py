"""Serving the page to this computer alone, with nothing left behind and nothing asked of others."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeprftv2_arch.utils.errors import UserError

if TYPE_CHECKING:
    from deeprftv2_arch.restoration.restorer import Restorer

HOST = '127.0.0.1'

BYTES_PER_PIXEL = 8
"""Of the largest file of a photograph: four channels of 16 bits, not compressed."""


def check_gradio() -> None:
    """Tell whether the page can be made.

    Raises:
        UserError: gradio is missing.
    """
    # Not imported yet: it makes folders where the environment says by then.
    if find_spec('gradio') is None:
        raise UserError("The page needs the package gradio. Try: pip install 'deeprftv2_arch[page]'")


def serve(restorers: Mapping[str, Restorer], *, port: int | None, opens_browser: bool, max_megapixels: float) -> None:
    """Serve the page until Ctrl+C or SIGTERM.

    Args:
        restorers: By the names that they are chosen with; the first is the one to begin with.
        port: None for the first free one from 7860 on.
        opens_browser: Whether to show the page.
        max_megapixels: Largest photograph.

    Raises:
        UserError: The port is taken.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix='deeprftv2_page_') as folder:
        _keep_to_ourselves(folder)
        from deeprftv2_arch.page.layout import STYLE, THEME, make_page

        page = make_page(restorers, Path(folder), max_megapixels)
        try:
            _, address, _ = page.launch(
                server_name=HOST,
                server_port=port,
                theme=THEME,
                css=STYLE,
                max_file_size=int(BYTES_PER_PIXEL * max_megapixels * 1e6) + 2**20,
                inbrowser=opens_browser,
                prevent_thread_lock=True,
                quiet=True,
                **_NOTHING_MORE,
            )
        except OSError as error:
            where = 'No port from 7860 on is free' if port is None else f'Port {port} is not free'
            raise UserError(f'{where}. Choose another one with --port.') from error
        print(f'The page is at {address} for this computer alone; Ctrl+C ends it.', flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print('The page is closed.')
        finally:
            page.close(verbose=False)


_NOTHING_MORE: dict[str, Any] = {
    'share': False,
    'ssr_mode': False,
    'mcp_server': False,
    'pwa': False,
    'enable_monitoring': False,
    'run_history': False,
    'footer_links': [],
}
"""What gradio can do beyond a page, which variables of the environment would otherwise turn on."""


def _keep_to_ourselves(folder: str) -> None:
    """Set what gradio reads from the environment, the first time when it is imported."""
    os.environ['GRADIO_TEMP_DIR'] = folder
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    os.environ['HF_HUB_DISABLE_TELEMETRY'] = '1'
    for name in ('NO_PROXY', 'no_proxy'):
        os.environ[name] = HOST  # it looks whether its page is there


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
