"""Small models with random weights, and the facts they are built on."""

import torch

from seqrl.config import DatasetFacts, ReturnSummary, RunSpec, parse_model
from seqrl.environments import space_facts
from seqrl.evaluation import Actor
from seqrl.registry import MODELS, resolve


def facts_for(environment: str, max_episode_steps: int | None = None, **changes) -> DatasetFacts:
    """Facts of an imagined dataset: nothing to normalise, returns up to 100."""
    known = space_facts(environment, None, max_episode_steps)
    facts = DatasetFacts(
        environment=environment,
        observation=known.observation,
        action=known.action,
        episodes=10,
        steps=1000,
        max_length=known.max_episode_steps or 100,
        max_episode_steps=known.max_episode_steps,
        returns=ReturnSummary(mean=50, std=20, minimum=1, maximum=100),
        terminated_episodes=5,
        truncated_episodes=5,
        reward_minimum=0,
        reward_maximum=1,
        observation_mean=(0,) * known.observation.size,
        observation_std=(1,) * known.observation.size,
        content_hash="",
    )
    return facts.model_copy(update=changes)


def actor_for(facts: DatasetFacts, name: str = "dt", sharpness: float = 40.0, **settings) -> Actor:
    """A small model whose random weights were made large enough for requests and states to change its mind."""
    values = {"kind": "dt", "embedding_dim": 16, "layers": 2, "heads": 2, "context_length": 5, "dropout": 0.0}
    kept = {key: value for key, value in (values | settings).items() if value is not None}
    spec = RunSpec(name=name, dataset="data", model=parse_model(kept))
    model = resolve(MODELS[spec.model.kind].model).build(spec.model, facts, seed=3).eval()
    with torch.no_grad():
        model.predict_action.weight.mul_(sharpness)
    return Actor(model, spec, facts)
