import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest

import seqrl.plots


@pytest.mark.parametrize("name", [module.name for module in iter_modules(seqrl.plots.__path__)])
def test_examples_in_docstrings_hold(name):
    assert doctest.testmod(import_module(f"seqrl.plots.{name}")).failed == 0
