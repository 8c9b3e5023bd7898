"""What the page looks like, and what its buttons do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio

from deeprftv2_arch.page.session import Session, StoppedError
from deeprftv2_arch.restoration.photo_formats import PHOTO_SUFFIXES
from deeprftv2_arch.restoration.restorer import Restorer
from deeprftv2_arch.utils.errors import UserError

TITLE = 'Restore a photograph'
HEAD = (
    f'# {TITLE}\n'
    'Drop a blurred photograph. It stays on this computer; the restored one is downloaded in its format, with its '
    'metadata.'
)
STYLE = """
.gradio-container { max-width: 1400px !important; margin: 0 auto; }
#view { min-height: 400px; }
footer { display: none !important; }
"""
THEME = gradio.themes.Default(font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace'])
"""With the fonts of the system: those of gradio's own theme come from a server."""

ONE_AT_A_TIME: dict[str, Any] = {'concurrency_limit': 1, 'concurrency_id': 'photograph', 'api_visibility': 'private'}


PROGRESS = gradio.Progress()
"""As a default it tells gradio to show how far a function is."""


def make_page(restorers: Mapping[str, Restorer], folder: Path, max_megapixels: float) -> gradio.Blocks:
    """Make the page.

    Args:
        restorers: By the names that they are chosen with; the first is the one to begin with.
        folder: For the files of those who have it open; below gradio's own, which it serves.
        max_megapixels: Largest photograph.
    """
    sessions: dict[str, Session] = {}

    def session_of(request: gradio.Request) -> Session:
        name = str(request.session_hash)
        return sessions.setdefault(name, Session(folder / name))

    def take(
        upload: str, weights: str, strength: float, request: gradio.Request, progress: Any = PROGRESS
    ) -> Iterator[dict]:
        session = session_of(request)
        yield at_work(f'Restoring {Path(upload).name} ...')
        try:
            session.take(Path(upload), max_megapixels)
        except UserError as error:
            yield at_rest(str(error))
            return
        yield restored(session, weights, strength, progress)

    def take_again(weights: str, strength: float, request: gradio.Request, progress: Any = PROGRESS) -> Iterator[dict]:
        session = session_of(request)
        if session.is_empty:
            return
        yield at_work(f'Restoring with {weights} ...')
        yield restored(session, weights, strength, progress)

    def restored(session: Session, weights: str, strength: float, progress: Any) -> dict:
        try:
            session.restore(restorers[weights], lambda done, total: progress((done, total), 'Restoring', unit='tiles'))
        except UserError as error:
            return at_rest(str(error))
        except StoppedError:
            return at_rest('Stopped.')
        return shown(session, strength)

    def remix(strength: float, request: gradio.Request) -> dict:
        return shown(session_of(request), strength)

    def shown(session: Session, strength: float) -> dict:
        """The photograph of a session in the wanted strength, if there is one."""
        seen = session.view(strength)
        if seen is None:
            return {stop: gradio.Button(visible=False)}
        return at_rest(seen.line) | {
            view: (str(seen.before), str(seen.after)),
            download: gradio.DownloadButton(value=str(seen.download), interactive=True),
        }

    def at_work(line: str) -> dict:
        return {
            drop: None,
            view: None,
            message: line,
            download: gradio.DownloadButton(value=None, interactive=False),
            stop: gradio.Button(visible=True),
        }

    def at_rest(line: str) -> dict:
        return {message: line, stop: gradio.Button(visible=False)}

    def halt(request: gradio.Request) -> None:
        session_of(request).stopped = True

    def leave(request: gradio.Request) -> None:
        session = sessions.pop(str(request.session_hash), None)
        if session is not None:
            session.close()

    names = list(restorers)
    with gradio.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)) as page:
        gradio.Markdown(HEAD)
        with gradio.Row():
            with gradio.Column(scale=1, min_width=300):
                drop = gradio.File(
                    label=f'Photograph, up to {max_megapixels:g} megapixels',
                    file_types=sorted(PHOTO_SUFFIXES),
                    elem_id='drop',
                    height=180,
                )
                weights = gradio.Dropdown(
                    names, value=names[0], label='Weights', visible=len(names) > 1, elem_id='weights'
                )
                strength = gradio.Slider(
                    0,
                    1,
                    value=1,
                    step=0.05,
                    label='Strength',
                    info='0 for the photograph, 1 for all',
                    elem_id='strength',
                )
                message = gradio.Textbox(label='Result', lines=3, interactive=False, elem_id='message')
                stop = gradio.Button('Stop', variant='stop', visible=False, elem_id='stop')
                download = gradio.DownloadButton('Download', variant='primary', interactive=False, elem_id='download')
            with gradio.Column(scale=3):
                view = gradio.ImageSlider(
                    label='Before and after; turn the wheel to enlarge',
                    interactive=False,
                    max_height=640,
                    buttons=['fullscreen'],
                    elem_id='view',
                )
        outputs = [drop, view, message, download, stop]
        drop.upload(take, [drop, weights, strength], outputs, show_progress_on=view, **ONE_AT_A_TIME)
        weights.input(take_again, [weights, strength], outputs, show_progress_on=view, **ONE_AT_A_TIME)
        strength.release(remix, strength, outputs, show_progress_on=view, **ONE_AT_A_TIME)
        stop.click(halt, queue=False, api_visibility='private')
        page.unload(leave)
    return page
