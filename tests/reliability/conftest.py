"""How often: a few times in ``make test``, the promised number in ``make soak``."""

import os
import random

import pytest

SOAK = bool(os.environ.get("SEQRL_SOAK"))


@pytest.fixture(scope="session")
def times():
    """``times(quick, soak)``: how often something is done here."""
    return lambda quick, soak: soak if SOAK else quick


@pytest.fixture
def chance(request):
    """Random numbers that differ between the tests, and between soaks; the seed is printed."""
    seed = f"{request.node.name} {os.environ.get('SEQRL_SOAK', '')}"
    print("seed:", seed)
    return random.Random(seed)
