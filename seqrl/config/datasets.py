"""How a dataset is collected: an environment, an amount, and a mixture of behaviours."""

from __future__ import annotations

import re
from typing import Self

from pydantic import model_validator

from seqrl.config.base import Name, Spec, setting
from seqrl.config.policies import POLICY_PREFIX, RUN_PREFIX


class BehaviourSpec(Spec):
    """One tier of the mixture: a policy of the registry, made worse by noise."""

    tier: str = setting("expert", "Tier", "Name of this part of the data.", min_length=1, max_length=40)
    share: float = setting(1.0, "Share", "Part of the episodes that this behaviour makes.", gt=0, le=1, step=0.05)
    policy: str = setting(
        "heuristic",
        "Policy",
        "Who acts: random, heuristic, bundled:QUALITY, policy:NAME@TIER for a snapshot of a trained policy, or "
        "run:NAME for a trained run.",
        min_length=1,
        max_length=80,
    )
    epsilon: float = setting(
        0.0,
        "Random share of actions",
        "With this probability a step's action is drawn at random.",
        ge=0,
        le=1,
        step=0.05,
    )
    noise_std: float = setting(
        0.0,
        "Action noise",
        "Standard deviation of Gaussian noise on continuous actions, in half action ranges.",
        ge=0,
        le=5,
        step=0.05,
    )


class DatasetSpec(Spec):
    """A dataset to collect. Equal specs give equal datasets."""

    name: Name = setting(..., "Name", "How the dataset is called on every page.")
    environment: str = setting("CartPole-v1", "Environment", "Where the episodes are played.", min_length=1)
    environment_kwargs: dict[str, bool | int | float | str] = setting(
        {}, "Environment settings", "Keyword arguments of gymnasium.make.", advanced=True
    )
    episodes: int = setting(2000, "Episodes", "How many episodes to collect.", unit="episodes", ge=1, le=1_000_000)
    behaviours: tuple[BehaviourSpec, ...] = setting(
        (BehaviourSpec(),),
        "Behaviours",
        "Who plays, and how large a share of the episodes.",
        min_length=1,
        max_length=12,
    )
    max_episode_steps: int | None = setting(
        None,
        "Time limit",
        "Truncate episodes after so many steps; empty keeps the environment's own limit.",
        unit="steps",
        ge=1,
        le=100_000,
        advanced=True,
    )
    seed: int = setting(0, "Seed", "The same seed gives the same episodes.", ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> Self:
        total = sum(behaviour.share for behaviour in self.behaviours)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of the mixture sum to {total:g}; make them sum to 1")
        tiers = [behaviour.tier for behaviour in self.behaviours]
        if len(set(tiers)) < len(tiers):
            raise ValueError(f"the mixture names a tier twice ({', '.join(tiers)}); give each tier its own name")
        return self

    @property
    def portable(self) -> bool:
        """Whether any machine can collect it: nothing that was trained here plays."""
        return not any(behaviour.policy.startswith((RUN_PREFIX, POLICY_PREFIX)) for behaviour in self.behaviours)

    def episodes_by_tier(self) -> list[int]:
        """Whole episodes of each behaviour, summing to ``episodes`` (largest remainders round up)."""
        exact = [behaviour.share * self.episodes for behaviour in self.behaviours]
        counts = [int(value) for value in exact]
        by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
        for i in by_remainder[: self.episodes - sum(counts)]:
            counts[i] += 1
        return counts


def parse_mix(text: str) -> dict[str, float]:
    """Read ``poor=0.3,medium=0.4,expert=0.3`` into tier → share.

    Raises:
        ValueError: naming the part that is not ``tier=share``.

    >>> parse_mix("poor=0.3,expert=0.7")
    {'poor': 0.3, 'expert': 0.7}
    """
    shares: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = re.fullmatch(r"([\w.-]+)\s*=\s*([0-9.eE+-]+)", part)
        try:
            share = float(match.group(2)) if match else None
        except ValueError:
            share = None
        if match is None or share is None:
            raise ValueError(f"the mixture part {part!r} is not tier=share; write for example poor=0.3,expert=0.7")
        if match.group(1) in shares:
            raise ValueError(f"the mixture names {match.group(1)!r} twice; give each tier once")
        shares[match.group(1)] = share
    if not shares:
        raise ValueError("the mixture is empty; write for example poor=0.3,medium=0.4,expert=0.3")
    return shares
