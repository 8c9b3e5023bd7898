"""A headless Chromium for tests, which tells what it asked for."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
DRIVER = shutil.which('chromedriver')
SWITCHES = (
    '--headless=new',
    '--no-sandbox',  # tests may run as root
    '--disable-dev-shm-usage',
    '--disable-gpu',
    '--disable-background-networking',
    '--disable-component-update',
    '--window-size=1400,950',
)


def missing() -> str:
    """What is not installed here, or an empty string."""
    found = {'chromium': BROWSER, 'chromedriver': DRIVER}
    for package in ('gradio', 'selenium'):
        try:
            __import__(package)
            found[package] = package
        except ImportError:
            found[package] = None
    return ', '.join(name for name, path in found.items() if path is None)


@contextmanager
def browser(downloads: Path) -> Iterator[Any]:
    """Open a browser that saves what it downloads into a folder."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability('goog:loggingPrefs', {'performance': 'ALL'})
    options.add_experimental_option('prefs', {'download.default_directory': str(downloads)})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def requests_of(driver: Any) -> set[str]:
    """Addresses that the browser has asked for since the last call."""
    found = set()
    for entry in driver.get_log('performance'):
        event = json.loads(entry['message'])['message']
        if event['method'] == 'Network.requestWillBeSent':
            found.add(event['params']['request']['url'])
    return found


def wait_for(happened: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = happened()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f'waited {seconds} s in vain for {what}')
