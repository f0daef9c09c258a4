"""One environment, made from a registered id and from nothing else."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import gymnasium
from gymnasium import error

from seqrl.config import SpaceFacts
from seqrl.environments.spaces import action_facts, observation_facts
from seqrl.registry import environment_row


class EnvironmentUnavailable(ValueError):
    """The environment is unknown, lacks a package, or refuses its settings; the sentence says what to do."""


@dataclass(frozen=True)
class EnvironmentFacts:
    """What forms, behaviours and models need to know of an environment.

    Attributes:
        environment: registered Gymnasium id.
        kwargs: settings it was made with.
        observation: the flattened observation space, with names.
        action: the action space as columns, with names.
        max_episode_steps: time limit in steps, None if it has none.
    """

    environment: str
    kwargs: Mapping[str, Any]
    observation: SpaceFacts
    action: SpaceFacts
    max_episode_steps: int | None


def make_environment(
    environment: str,
    kwargs: Mapping[str, Any] | None = None,
    *,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
) -> gymnasium.Env:
    """Make one environment.

    Args:
        environment: an id registered with Gymnasium; ids that name a module to import are refused.
        kwargs: keyword arguments of the environment.
        max_episode_steps: time limit in steps that replaces the environment's own.
        render_mode: as in `gymnasium.make`.

    Raises:
        EnvironmentUnavailable: in one sentence, with what to do.
    """
    row = environment_row(environment)
    if ":" in environment:
        raise EnvironmentUnavailable(f"the environment is {environment!r}; name a registered id without a module")
    if row.package:
        _import_package(environment, row.module, row.package)
    options: dict[str, Any] = dict(kwargs or {})
    if max_episode_steps is not None:
        options["max_episode_steps"] = max_episode_steps
    if render_mode is not None:
        options["render_mode"] = render_mode
    try:
        gymnasium.spec(environment)
    except error.Error as fault:
        raise EnvironmentUnavailable(_unknown(environment)) from fault
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")  # read once, when MuJoCo is imported; draws without a screen
    try:
        return gymnasium.make(environment, disable_env_checker=True, **options)
    except (error.DependencyNotInstalled, ImportError) as fault:
        raise EnvironmentUnavailable(f"{environment} needs a package that is missing: {fault}") from fault
    except error.DeprecatedEnv as fault:
        raise EnvironmentUnavailable(f"{environment} is out of date: {fault}") from fault
    except (TypeError, ValueError, error.Error) as fault:
        raise EnvironmentUnavailable(f"{environment} refuses its settings {options}: {fault}") from fault


def facts_of(env: gymnasium.Env, environment: str, kwargs: Mapping[str, Any] | None = None) -> EnvironmentFacts:
    """Facts of an environment that is already made."""
    row = environment_row(environment)
    return EnvironmentFacts(
        environment=environment,
        kwargs=dict(kwargs or {}),
        observation=observation_facts(env.observation_space, row.observation_names),
        action=action_facts(env.action_space, row.action_names),
        max_episode_steps=env.spec.max_episode_steps if env.spec else None,
    )


def space_facts(
    environment: str, kwargs: Mapping[str, Any] | None = None, max_episode_steps: int | None = None
) -> EnvironmentFacts:
    """Facts of a registered environment, see `make_environment`."""
    env = make_environment(environment, kwargs, max_episode_steps=max_episode_steps)
    try:
        return facts_of(env, environment, kwargs)
    finally:
        env.close()


def _import_package(environment: str, module: str | None, package: str) -> None:
    try:
        if module:
            import_module(module)
    except ImportError as fault:
        raise EnvironmentUnavailable(f"{environment} needs {package}; install it with pip install {package}") from fault


def _unknown(environment: str) -> str:
    close = difflib.get_close_matches(environment, list(gymnasium.registry), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "see python -m seqrl env list"
    return f"there is no environment {environment!r}; {hint}"
