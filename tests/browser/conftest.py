"""The fixtures of the tests in a browser, where playwright is installed."""

import importlib.util

if importlib.util.find_spec("playwright") is not None:
    from harness import address, browser

    __all__ = ["address", "browser"]
