"""The bar as a user sees it: on stderr, with the log above it."""

from __future__ import annotations

import logging
import re

from basicsr.utils import get_root_logger

from deeprftv2_arch.models.progress import TrainingBar


def test_bar_shows_the_state_and_keeps_off_the_log(capsys):
    logger = get_root_logger()
    handlers = list(logger.handlers)
    console = logging.StreamHandler()  # to the stderr that pytest watches now
    logger.handlers = [console]
    try:
        bar = TrainingBar(total=4, done=2)
        bar.update(loss=0.25, learning_rate=1e-3, crop=(64, 48), images=8)
        logger.warning('a line of the log')
        bar.update(loss=0.125, learning_rate=5e-4, crop=(64, 48), images=8)
        logger.warning('another line')
        assert logger.handlers == [console]
    finally:
        logger.handlers = handlers
    shown = re.split(r'[\r\n]', capsys.readouterr().err)
    assert any('a line of the log' in line and 'Training' not in line for line in shown)
    assert any('another line' in line and 'Training' not in line for line in shown)
    last = [line for line in shown if 'Training' in line][-1]
    assert '4/4' in last
    assert 'loss=0.1250' in last
    assert 'lr=5.00e-04' in last
    assert 'crop=48x64' in last
    assert re.search(r'img/s=\d', last)
    assert any('2/4' in line for line in shown)


def test_closing_early_and_twice_gives_the_console_back():
    logger = get_root_logger()
    handlers = list(logger.handlers)
    bar = TrainingBar(total=4)
    bar.close()
    bar.close()
    assert logger.handlers == handlers
