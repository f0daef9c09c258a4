"""What a model from elsewhere acts on: facts of a dataset, of an environment, or of a file, in this order of trust."""

from __future__ import annotations

from typing import Any

from seqrl.config import DatasetFacts, ReturnSummary, RunImportSpec, SpaceFacts
from seqrl.datasets.importers import ImportRefused
from seqrl.environments import space_facts
from seqrl.huggingface.settings import HuggingFaceConfig
from seqrl.registry import ENVIRONMENTS, environment_row


def acting_facts(spec: RunImportSpec, config: HuggingFaceConfig, dataset: DatasetFacts | None) -> DatasetFacts:
    """What the model acts on: a dataset's facts, those that our own export wrote down, or an environment's."""
    noted = config.seqrl.facts
    facts = dataset or noted
    facts = placed(spec, facts) if facts is not None else _facts_of_environment(spec, config)
    if noted is not None:
        facts = _with_statistics(facts, noted.observation_mean, noted.observation_std)
    facts = _with_statistics(facts, spec.observation_mean, spec.observation_std)
    _check_size("state_dim", config.state_dim, facts.observation.size, "observations")
    action = facts.action
    _check_size("act_dim", config.act_dim, action.size if action.kind == "box" else sum(action.categories), "actions")
    if action.kind == "multi_discrete":
        raise ImportRefused(
            "the actions are multi-discrete, which transformers' model cannot tell; give another environment"
        )
    if action.kind == "box" and not config.action_tanh:  # an open head must not be clipped
        facts = facts.model_copy(update={"action": _bounded(action, None)})
    elif action.kind == "box" and None in (*action.low, *action.high):
        facts = facts.model_copy(update={"action": _bounded(action, 1.0)})
    return facts


def _facts_of_environment(spec: RunImportSpec, config: HuggingFaceConfig) -> DatasetFacts:
    """Facts where there is no dataset: spaces of the environment, or plain boxes, and no data at all."""
    if spec.observation_mean is None or spec.observation_std is None:
        raise ImportRefused("observation_mean and observation_std are missing; give a dataset or statistics")
    if spec.environment in ("none", "auto"):
        names = tuple(f"observation {i + 1}" for i in range(config.state_dim))
        observation = SpaceFacts(kind="box", size=config.state_dim, shape=(config.state_dim,), names=names)
        names = tuple(f"action {i + 1}" for i in range(config.act_dim))
        action = _bounded(SpaceFacts(kind="box", size=config.act_dim, shape=(config.act_dim,), names=names), None)
        environment, limit = None, None
    else:
        known = space_facts(spec.environment, spec.environment_kwargs)
        observation, action, environment = known.observation, known.action, spec.environment
        limit = known.max_episode_steps
    reference = environment_row(environment).reference_returns if environment else None
    low, high = reference or (0.0, spec.return_scale)
    return DatasetFacts(
        environment=environment,
        environment_kwargs=spec.environment_kwargs if environment else {},
        observation=observation,
        action=action,
        episodes=0,
        steps=0,
        max_length=min(limit or config.max_ep_len, config.max_ep_len),
        max_episode_steps=limit,
        returns=ReturnSummary(mean=(low + high) / 2, std=0.0, minimum=low, maximum=high),
        terminated_episodes=0,
        truncated_episodes=0,
        reward_minimum=0.0,
        reward_maximum=0.0,
        observation_mean=spec.observation_mean,
        observation_std=spec.observation_std,
        content_hash="",
    )


def placed(spec: RunImportSpec, facts: DatasetFacts) -> DatasetFacts:
    """Facts in the environment that the user names; what a file names is believed only if seqrl's table has it."""
    if spec.environment == "none":
        return facts.model_copy(update={"environment": None, "environment_kwargs": {}})
    if spec.environment == "auto":
        if spec.dataset is not None or facts.environment is None:
            return facts
        plain = all(isinstance(value, bool | int | float) for value in facts.environment_kwargs.values())
        if facts.environment in ENVIRONMENTS and plain:
            return facts
        raise ImportRefused(
            f"the file names the environment {facts.environment[:80]!r}; say with --env which one to use"
        )
    known = space_facts(spec.environment, spec.environment_kwargs)
    for what in ("observation", "action"):
        ours, theirs = getattr(known, what), getattr(facts, what)
        if (ours.kind, ours.size) != (theirs.kind, theirs.size):
            raise ImportRefused(
                f"{spec.environment} has {ours.kind} {what}s of {ours.size} numbers but the model's are "
                f"{theirs.kind} of {theirs.size}; choose another environment"
            )
    return facts.model_copy(
        update={
            "environment": spec.environment,
            "environment_kwargs": dict(spec.environment_kwargs),
            "max_episode_steps": known.max_episode_steps,
        }
    )


def _with_statistics(
    facts: DatasetFacts, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> DatasetFacts:
    update: dict[str, Any] = {}
    for name, given in (("observation_mean", mean), ("observation_std", std)):
        if given is None:
            continue
        if len(given) != facts.observation.size:
            raise ImportRefused(f"{name} has {len(given)} numbers but observations have {facts.observation.size}")
        if name == "observation_std" and min(given) <= 0:
            raise ImportRefused(f"{name} holds {min(given):g}; a spread is more than 0")
        update[name] = given
    return facts.model_copy(update=update)


def _check_size(field: str, value: int, expected: int, what: str) -> None:
    if value != expected:
        raise ImportRefused(f"{field} is {value} but {what} have {expected} numbers; give the data it was trained on")


def _bounded(action: SpaceFacts, bound: float | None) -> SpaceFacts:
    low = (None if bound is None else -bound,) * action.size
    return action.model_copy(update={"low": low, "high": (bound,) * action.size})
