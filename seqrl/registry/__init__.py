"""The one table of environments, behaviour policies and models. Nothing here imports an implementation."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from seqrl.registry.environments import ENVIRONMENTS, EnvironmentRow
from seqrl.registry.lessons import RECIPES, Recipe
from seqrl.registry.models import MODELS, ModelRow, Preset

__all__ = [
    "ENVIRONMENTS",
    "MODELS",
    "RECIPES",
    "EnvironmentRow",
    "ModelRow",
    "Preset",
    "Recipe",
    "environment_row",
    "resolve",
]


def environment_row(environment: str) -> EnvironmentRow:
    """The row of an environment; an unlisted id gets a row that knows only random behaviour."""
    return ENVIRONMENTS.get(environment) or EnvironmentRow(
        id=environment, title=environment, family="Other", max_episode_steps=None
    )


def resolve(reference: str) -> Any:
    """The attribute that a ``module:attribute`` of this table names. Only references of this table are resolved.

    >>> resolve("seqrl.config:TrainingSpec").__name__
    'TrainingSpec'
    """
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)
