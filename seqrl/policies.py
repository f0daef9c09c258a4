"""A model acting: many episodes in lock step, each with its own target, decoding and noise.

An episode depends on (model, target, decoding, seed) and never on the batch that it is played in: the model gives a
row the same bits whatever the other rows are, and sampling noise is keyed by (episode seed, step).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from seqrl.config import DatasetFacts, SpaceFacts, discounted_bounds
from seqrl.config.models import ActionModelSpec, RvsSpec
from seqrl.environments.noise import EpisodeNoise
from seqrl.models.action_model import ActionModel
from seqrl.models.decision_transformer import DecisionTransformer


@dataclass(frozen=True)
class Decision:
    """What n episodes do at one step.

    Attributes:
        actions: (n,) int64 discrete, (n, M) int64 multi-discrete, or (n, A) float32 within the bounds.
        probabilities: (n, sum of categories) float32 probabilities drawn from (at temperature 1 for greedy
            episodes), or (n, 2, A) float32 mean and standard deviation for boxes.
        returns_to_go: (n,) float64 asked for at this step, reward units; NaN for models without return tokens.
    """

    actions: np.ndarray
    probabilities: np.ndarray
    returns_to_go: np.ndarray


def decode_categorical(
    logits: np.ndarray,
    categories: Sequence[int],
    uniforms: np.ndarray,
    sampled: np.ndarray,
    temperature: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Actions from the logits of one or several discrete components.

    Args:
        logits: (n, sum of categories) float.
        categories: number of values of each component.
        uniforms: (n, components) in [0, 1), turned into actions by the inverse distribution function.
        sampled: (n,) bool; the others take the likeliest value, the first of equals.
        temperature: divides the logits of sampled rows.

    Returns:
        (n, components) int64 actions and (n, sum of categories) float32 probabilities.

    >>> decode_categorical(np.log([[0.25, 0.75]] * 3), [2], np.array([[0.2], [0.3], [0.2]]),
    ...     np.array([True, True, False]), 1.0)[0].ravel()
    array([0, 1, 1])
    """
    actions = np.empty((len(logits), len(categories)), dtype=np.int64)
    probabilities = np.empty(logits.shape, dtype=np.float32)
    divisor = np.where(sampled, temperature, 1.0)[:, None]
    start = 0
    for component, size in enumerate(categories):
        part = slice(start, start := start + size)
        scores = logits[:, part].astype(np.float64)
        weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / divisor)
        cumulative = np.cumsum(weights, axis=1)
        total = cumulative[:, -1:]
        drawn = (cumulative <= uniforms[:, component, None] * total).sum(axis=1)
        actions[:, component] = np.where(sampled, np.minimum(drawn, size - 1), scores.argmax(axis=1))
        probabilities[:, part] = weights / total
    return actions, probabilities


def decode_gaussian(
    mean: np.ndarray,
    std: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    normals: np.ndarray,
    sampled: np.ndarray,
    temperature: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Actions of a diagonal normal distribution, clipped into the bounds; no spread means a fixed action.

    Args:
        mean: (n, A) float, action units.
        std: (n, A) float, action units.
        bounds: lowest and highest actions, (A,) each, infinite where there is no bound.
        normals: (n, A) standard normal numbers.
        sampled: (n,) bool; the others take the mean.
        temperature: multiplies the standard deviation of sampled rows.

    Returns:
        (n, A) float32 actions and (n, 2, A) float32 mean and standard deviation used.
    """
    spread = std.astype(np.float64) * np.where(sampled, temperature, 1.0)[:, None]
    actions = np.clip(mean + spread * normals * sampled[:, None], *bounds)
    return actions.astype(np.float32), np.stack([mean, spread], axis=1).astype(np.float32)


class ActionDecoder:
    """What a head says, turned into actions.

    Args:
        action: the action space.
        kind: of the head: "categorical", "tanh", "linear" or "gaussian".

    Attributes:
        noise_width: random numbers that a step needs.
        normal: whether they are standard normal instead of uniform.
    """

    def __init__(self, action: SpaceFacts, kind: str) -> None:
        self.action, self.kind = action, kind
        self.normal = kind == "gaussian"
        self.noise_width = action.size
        low = [-np.inf if bound is None else bound for bound in action.low]
        high = [np.inf if bound is None else bound for bound in action.high]
        self._bounds = (np.array(low), np.array(high))

    def decode(
        self, outputs: np.ndarray, noise: np.ndarray, sampled: np.ndarray, temperature: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Actions and probabilities, see `Decision`.

        Args:
            outputs: as `ActionHead.decode` of `seqrl.models.heads` returns them, n rows.
            noise: (n, noise_width).
            sampled: (n,) bool. A tanh or linear head has nothing to draw from and ignores it.
            temperature: of the draws.
        """
        if self.kind == "categorical":
            categories = self.action.categories
            actions, probabilities = decode_categorical(outputs, categories, noise, sampled, temperature)
            return (actions[:, 0] if self.action.kind == "discrete" else actions), probabilities
        if self.kind == "gaussian":
            mean, std = outputs[:, 0], outputs[:, 1]
        else:
            mean, std = outputs, np.zeros_like(outputs)
        return decode_gaussian(mean, std, self._bounds, noise, sampled, temperature)


class SequencePolicy:
    """A model that plays n episodes in lock step, all at the same timestep.

    The model sees the last K steps at most, exactly as in training: nothing is padded at the start of an episode.
    After every step the request falls by the reward that was paid, ``R' = (R − r) / γ``, in the unit of the data; with
    γ < 1 it also stays within what the data's rewards can add up to before the time limit, because the division
    would otherwise blow up any difference between what was asked and what is achieved.

    Args:
        model: a `DecisionTransformer`, `BehaviourCloning` or `RvsNetwork` in evaluation mode.
        spec: of the model.
        facts: of the data that it learned from.
        seeds: (n,) of the episodes; key of their sampling noise.
        targets: (n,) asked for at the first step, in the unit of the data; ignored by models without return tokens.
            NaN lets the model choose at every step, which takes a return head.
        sampled: (n,) bool, draw the action instead of taking the likeliest.
        temperature: of the draws.
        optimism: of a model that chooses, see `ReturnHead.choose`.
        precision: number format of the transformer's blocks while acting.
        acting: "window" recomputes the last K steps at every step; "cached" reuses keys and values, so that the
            context grows to K steps, starts again with the last K/2, and so on.
    """

    def __init__(
        self,
        model: ActionModel,
        spec: ActionModelSpec | RvsSpec,
        facts: DatasetFacts,
        *,
        seeds: Sequence[int],
        targets: np.ndarray,
        sampled: np.ndarray,
        temperature: float = 1.0,
        optimism: float = 10.0,
        acting: Literal["cached", "window"] = "cached",
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        self.model, self.facts, self.temperature, self.acting = model, facts, temperature, acting
        self.context_length, self.optimism = spec.context_length, optimism
        self.conditioned, self.discount = model.conditioned, model.discount
        self.timestep = 0
        self.sampled = np.asarray(sampled, dtype=bool)
        self.returns_to_go = np.asarray(targets, dtype=np.float64) if self.conditioned else np.zeros(len(seeds))
        self._chooses = np.isnan(self.returns_to_go)
        self._decoder = ActionDecoder(facts.action, model.head.kind)
        self._noise = EpisodeNoise(seeds, self._decoder.noise_width, "sampling", normal=self._decoder.normal)
        self._history = _History(len(seeds), 2 * self.context_length, facts)
        self._compute = torch.bfloat16 if precision == "bf16" else torch.float32
        self._rewritten = False
        self._state = model.begin(len(seeds), self.context_length, self._compute) if acting == "cached" else None

    @torch.inference_mode()
    def act(self, observations: np.ndarray) -> Decision:
        """Decide in every episode still running.

        Args:
            observations: (n, *observation) of the present timestep.
        """
        self._choose(observations)
        self._history.begin_step(observations, self.returns_to_go, self.context_length)
        outputs = self._outputs().cpu().numpy()
        noise = self._noise.at(self.timestep)
        actions, probabilities = self._decoder.decode(outputs, noise, self.sampled, self.temperature)
        self._history.end_step(actions)
        asked = self.returns_to_go if self.conditioned else np.full(len(actions), np.nan)
        return Decision(actions, probabilities, asked)

    def follow(self, observations: np.ndarray, actions: np.ndarray) -> Decision:
        """Go along with actions that are given; the policy remembers them as its own.

        Args:
            observations: (n, *observation) of the present timestep.
            actions: (n, ...) that are carried out there.
        """
        decision = self.act(observations)
        self._history.end_step(actions)
        return replace(decision, actions=actions)

    def ask(self, returns_to_go: np.ndarray, *, rewrite: bool = False) -> None:
        """Ask for something else from the present timestep on; to be called before `act`.

        Args:
            returns_to_go: (n,) in the unit of the data.
            rewrite: whether the requests of earlier steps in the context change along, by ``γ^k`` k steps before, as if
                this had been asked from the start; otherwise they are remembered as they were.
        """
        asked = self._within_reach(np.asarray(returns_to_go, dtype=np.float64))
        if rewrite and self._history.length:
            self._history.shift_requests(asked - self.returns_to_go, self.discount)
            self._rewritten = True
        self.returns_to_go = asked
        self._chooses = np.zeros_like(self._chooses)

    def observe(self, rewards: np.ndarray) -> None:
        """Tell what the actions earned, (n,) reward units; the request falls by it."""
        self.timestep += 1
        if not self.conditioned:
            return
        self.returns_to_go = self._within_reach((self.returns_to_go - rewards) / self.discount)

    def keep(self, running: np.ndarray) -> None:
        """Drop the episodes where ``running``, (n,) bool, is false."""
        self.returns_to_go, self.sampled = self.returns_to_go[running], self.sampled[running]
        self._chooses = self._chooses[running]
        self._noise.keep(running)
        rows = torch.from_numpy(np.asarray(running))
        self._history.keep(rows)
        if self._state is not None and len(self.sampled):
            self._state.keep(rows)

    def _within_reach(self, returns_to_go: np.ndarray) -> np.ndarray:
        """Requests that the data's rewards can add up to before the time limit, where the discount is below 1."""
        if self.discount == 1:
            return returns_to_go
        left = max(self.facts.step_limit - self.timestep, 0)
        return np.clip(returns_to_go, *discounted_bounds(self.facts, self.discount, left))

    def _choose(self, observations: np.ndarray) -> None:
        """Let the model say what to ask for, where that is left to it."""
        rows = self._chooses
        if rows.any():
            assert isinstance(self.model, DecisionTransformer)  # noqa: S101
            chosen = self.model.choose_return(torch.from_numpy(observations[rows]), self.timestep, self.optimism)
            self.returns_to_go = self.returns_to_go.copy()
            self.returns_to_go[rows] = chosen.cpu().numpy()

    def _outputs(self) -> Tensor:
        """What the model says at the present timestep, see `ActionHead.decode`."""
        state = self._state
        if state is None:
            window = self._history.last(self.context_length, self.timestep)
            return self.model.act_logits(*window, compute=self._compute)
        if state.is_full or self._rewritten:
            self._rewritten = False
            steps = context_steps(self.timestep, self.context_length, "cached")
            return self.model.prefill(state, *self._history.last(steps, self.timestep))
        history = self._history
        return self.model.step(
            state,
            history.present(history.observations),
            history.present(history.returns_to_go),
            history.previous(),
            self.timestep,
        )


def context_steps(timestep: int, context_length: int, acting: Literal["cached", "window"]) -> int:
    """How many steps a model sees when it acts at a timestep, the present one included.

    >>> [context_steps(t, 4, "window") for t in range(9)]
    [1, 2, 3, 4, 4, 4, 4, 4, 4]
    >>> [context_steps(t, 4, "cached") for t in range(9)]
    [1, 2, 3, 4, 2, 3, 4, 2, 3]
    """
    if acting == "window" or timestep < context_length:
        return min(timestep + 1, context_length)
    shortest = -(-context_length // 2)
    return shortest + (timestep - context_length) % (context_length - shortest + 1)


class _History:
    """The last steps of n episodes in memory allocated once.

    Attributes:
        observations: (n, capacity, *observation).
        actions: (n, capacity, ...).
        returns_to_go: (n, capacity) float32.
        length: steps held.
    """

    def __init__(self, rows: int, capacity: int, facts: DatasetFacts) -> None:
        image = facts.observation.kind == "image"
        shape = facts.observation.shape if image else (facts.observation.size,)
        self.observations = torch.zeros((rows, capacity, *shape), dtype=torch.uint8 if image else torch.float32)
        boxes = facts.action.kind == "box"
        shape = () if facts.action.kind == "discrete" else (facts.action.size,)
        self.actions = torch.zeros((rows, capacity, *shape), dtype=torch.float32 if boxes else torch.int64)
        self.returns_to_go = torch.zeros((rows, capacity))
        self.capacity = capacity
        self.length = 0

    def begin_step(self, observations: np.ndarray, returns_to_go: np.ndarray, needed: int) -> None:
        """Append a step; where there is no room, forget all but the last ``needed`` steps."""
        if self.length == self.capacity:
            for held in (self.observations, self.actions, self.returns_to_go):
                held[:, : needed - 1] = held[:, self.length - needed + 1 : self.length].clone()
            self.length = needed - 1
        self.observations[:, self.length] = torch.from_numpy(observations)
        self.returns_to_go[:, self.length] = torch.from_numpy(returns_to_go)
        self.length += 1

    def end_step(self, actions: np.ndarray) -> None:
        """The actions taken at the present step."""
        self.actions[:, self.length - 1] = torch.from_numpy(actions)

    def shift_requests(self, change: np.ndarray, discount: float) -> None:
        """Add ``change`` (n,), discounted by the steps that lie between, to the requests of all steps held."""
        back = np.arange(self.length, 0, -1)
        shift = change[:, None] * discount**back
        self.returns_to_go[:, : self.length] += torch.from_numpy(shift).float()

    def keep(self, running: Tensor) -> None:
        """Drop rows."""
        self.observations, self.actions = self.observations[running], self.actions[running]
        self.returns_to_go = self.returns_to_go[running]

    def last(self, steps: int, timestep: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Observations, the actions in between, returns-to-go and timesteps of the last ``steps`` steps."""
        start = max(self.length - steps, 0)
        seen = slice(start, self.length)
        timesteps = torch.arange(timestep + 1 - (self.length - start), timestep + 1)
        return (
            self.observations[:, seen],
            self.actions[:, start : self.length - 1],
            self.returns_to_go[:, seen],
            timesteps,
        )

    def present(self, held: Tensor) -> Tensor:
        """One column of the present step."""
        return held[:, self.length - 1]

    def previous(self) -> Tensor | None:
        """Actions of the step before, None at the first."""
        return self.actions[:, self.length - 2] if self.length > 1 else None
