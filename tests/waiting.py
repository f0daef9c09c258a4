"""Wait for something that another process does."""

import time


def until(condition, timeout_s=60.0):
    """The first true value of ``condition()``; fails after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"nothing happened in {timeout_s:g} s")
