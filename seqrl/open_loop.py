"""What a run would have done on recorded episodes: for data without an environment, and quicker than playing.

*Open loop*: the model sees the recorded history, not the consequences of its own actions, so a small error does not
promise a good policy. Requests are the returns that the episodes really had.

Shape suffixes: B windows, L steps, A action dimensions, M components, W values of a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqrl.config import DatasetFacts, OpenLoopSpec, RunSpec, TrajectoryTransformerSpec, discounted_bounds
from seqrl.config.imports import SPLITS, Split
from seqrl.models.action_model import ActionModel
from seqrl.models.heads import action_scale
from seqrl.models.trajectory_transformer import TrajectoryTransformer
from seqrl.registry import MODELS, resolve
from seqrl.store.columns import Columns
from seqrl.windows import WindowBatch, Windows, split_episodes

_WINDOWS_AT_ONCE = 32
_TARGETS = 21
_TIMESTEP_GROUPS = 50
_SHOWN_DIMENSIONS = 12
_FAINTEST = 1e-200
"""A smaller discount ** t counts as this: what is divided by it is out of reach, but finite."""

OnProgress = Callable[[float, str], None]


@torch.inference_mode()
def evaluate(
    spec: OpenLoopSpec,
    model: Any,
    run: RunSpec,
    facts: DatasetFacts,
    columns: Columns,
    *,
    on_progress: OnProgress = lambda fraction, message: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:
    """Measure a run on recorded episodes.

    Args:
        spec: which episodes, and which requests.
        model: of the run, see `seqrl.checkpoints.load_model`.
        run: its spec.
        facts: of the data that it learned from.
        columns: of the data that it is measured on.
        on_progress: called with the share that is done, 0 to 1, and what is being done.
        should_stop: asked now and then.

    Returns:
        JSON values, or None if it was asked to stop:

        * ``episodes``, ``steps``: measured; ``split``: what they were to the run, see `choose_episodes`.
        * ``measure``: "error" (mean absolute difference, in half action ranges; in action units where a dimension has
          no bounds) or "mismatch" (share of steps with another action than the recorded one).
        * ``overall``, ``baseline``: of the run, and of always answering the mean (or most frequent) action.
        * ``by_context``: list of ``position`` (steps of history seen, 1 to K), ``n``, ``mean``.
        * ``by_timestep``: list of ``timestep`` (first of a group), ``until``, ``n``, ``mean``.
        * ``by_dimension``: list of ``name``, ``mean``; the worst ones first, at most 12.
        * ``response``: None for models without a request, else ``targets`` (returns asked for), ``names`` and
          ``values`` (one row a target: probabilities of discrete actions, or mean actions of at most 12 dimensions),
          ``change`` (mean difference of the action between the highest and the lowest target, in the measure's unit),
          ``data`` (lowest and highest return of the data).
        * ``sentence``: all of it in one.
    """
    episodes, split = choose_episodes(spec, run, facts, columns)
    totals = _Totals(columns, run.model.context_length)
    count = -(-int(columns.episodes["length"].to_numpy()[episodes].sum()) // run.model.context_length)
    for done, piece in enumerate(_pieces(model, run, columns, episodes)):
        if should_stop():
            return None
        totals.add(piece)
        on_progress(0.8 * min(1.0, done * _WINDOWS_AT_ONCE / count), f"{totals.steps:,} steps compared")
    on_progress(0.8, "asking for other returns")
    response = None
    if isinstance(model, ActionModel) and model.conditioned:
        response = _response(spec, model, facts, columns, episodes)
    result = {
        "episodes": len(episodes),
        "steps": totals.steps,
        "split": split,
        **totals.result(),
        "response": response,
    }
    return result | {"sentence": _sentence(result)}


def choose_episodes(
    spec: OpenLoopSpec, run: RunSpec, facts: DatasetFacts, columns: Columns
) -> tuple[np.ndarray, Split]:
    """Sorted indices of the episodes to measure, and what they were to the run.

    On the data that the run learned from, they come from the part that was kept out of training, if there is one. Other
    data may be a part of it, or hold a part of it.
    """
    candidates, own = np.arange(len(columns.episodes)), columns.facts.content_hash == facts.content_hash
    split: Split = "training" if own else "other"
    if own and run.training.validation_fraction > 0:
        model_class = resolve(MODELS[run.model.kind].model)
        eligible = model_class.eligible_episodes(run.model, columns)
        candidates = eligible[split_episodes(len(eligible), run.training.validation_fraction, run.seed)[1]]
        split = "validation"
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((spec.seed, 0x0BE1))))
    return np.sort(generator.permutation(candidates)[: spec.episodes]), split


@dataclass(frozen=True)
class _Piece:
    """Windows that were answered.

    Attributes:
        predicted: (B, L, A) actions in the environment's units, or (B, L, M) whole numbers.
        recorded: of the same shape.
        timesteps: (B, L).
        mask: (B, L) bool.
    """

    predicted: np.ndarray
    recorded: np.ndarray
    timesteps: np.ndarray
    mask: np.ndarray


@dataclass
class _Totals:
    """Sums over the steps seen so far."""

    columns: Columns
    context_length: int
    steps: int = 0
    by_context: np.ndarray = field(init=False)
    by_timestep: np.ndarray = field(init=False)
    by_dimension: np.ndarray = field(init=False)
    recorded: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        action = self.columns.facts.action
        self.box = action.kind == "box"
        self.half_range = action_scale(action)[1].numpy() if self.box else np.ones(action.size)
        self.group = max(1, -(-self.columns.facts.max_length // _TIMESTEP_GROUPS))
        groups = -(-self.columns.facts.max_length // self.group)
        self.by_context = np.zeros((self.context_length, 2))
        self.by_timestep = np.zeros((groups, 2))
        self.by_dimension = np.zeros(action.size)

    def add(self, piece: _Piece) -> None:
        """Count the real steps of some windows."""
        mask = piece.mask
        if self.box:
            errors = np.abs(piece.predicted[mask] - piece.recorded[mask]) / self.half_range
            each = errors.mean(axis=1)
        else:
            errors = piece.predicted[mask] != piece.recorded[mask]
            each = errors.any(axis=1).astype(np.float64)
        positions = np.broadcast_to(np.arange(mask.shape[1]), mask.shape)[mask]
        for sums, where in ((self.by_context, positions), (self.by_timestep, piece.timesteps[mask] // self.group)):
            np.add.at(sums[:, 0], where, 1)
            np.add.at(sums[:, 1], where, each)
        self.by_dimension += errors.sum(axis=0)
        self.recorded.append(piece.recorded[mask])
        self.steps += len(each)

    def result(self) -> dict[str, Any]:
        """The measures, as JSON values."""
        names = self.columns.facts.action.names
        dimensions = self.by_dimension / self.steps
        worst = np.argsort(-dimensions, kind="stable")[:_SHOWN_DIMENSIONS]
        groups = [
            {"timestep": i * self.group, "until": (i + 1) * self.group - 1, "n": int(n), "mean": total / n}
            for i, (n, total) in enumerate(self.by_timestep)
            if n
        ]
        return {
            "measure": "error" if self.box else "mismatch",
            "overall": float(self.by_context[:, 1].sum() / self.steps),
            "baseline": self._baseline(),
            "by_context": [
                {"position": i + 1, "n": int(n), "mean": total / n} for i, (n, total) in enumerate(self.by_context) if n
            ],
            "by_timestep": groups,
            "by_dimension": [{"name": names[i], "mean": float(dimensions[i])} for i in worst],
        }

    def _baseline(self) -> float:
        """What always answering the same would reach."""
        recorded = np.concatenate(self.recorded)
        if self.box:
            return float((np.abs(recorded - recorded.mean(axis=0)) / self.half_range).mean())
        _, counts = np.unique(recorded, axis=0, return_counts=True)
        return float(1 - counts.max() / len(recorded))


def _pieces(model: Any, run: RunSpec, columns: Columns, episodes: np.ndarray) -> Iterator[_Piece]:
    """Every step of the episodes once, answered with one to K steps of history."""
    if isinstance(run.model, TrajectoryTransformerSpec):
        yield from _planning_pieces(model, columns, episodes)
        return
    windows = Windows(columns, model.context_length, discount=model.discount, episodes=episodes)
    for batch in windows.cover(_WINDOWS_AT_ONCE):
        predicted = _answers(model, batch)
        recorded = batch.actions if batch.actions.ndim == 3 else batch.actions[..., None]
        yield _Piece(predicted, recorded.numpy(), batch.timesteps.numpy(), batch.mask.numpy())


def _answers(model: ActionModel, batch: WindowBatch) -> np.ndarray:
    """(B, L, A) the likeliest actions at every step, or (B, L, M) the likeliest values."""
    decoded = model.head.decode(model(batch).flatten(0, 1)).unflatten(0, batch.mask.shape)
    if model.head.kind == "categorical":
        parts = decoded.split(model.head.categories, dim=-1)
        return torch.stack([part.argmax(-1) for part in parts], dim=-1).numpy()
    return (decoded[..., 0, :] if model.head.kind == "gaussian" else decoded).numpy()


def _planning_pieces(model: TrajectoryTransformer, columns: Columns, episodes: np.ndarray) -> Iterator[_Piece]:
    """The likeliest action tokens given all tokens before them, as actions."""
    windows = model.batches(columns, episodes)
    action, size = model.layout.action, columns.facts.action.size
    tiles = windows.index.tiles(model.context_length)
    for first, batch in zip(range(0, len(tiles), _WINDOWS_AT_ONCE), windows.cover(_WINDOWS_AT_ONCE), strict=True):
        places = tiles[first : first + _WINDOWS_AT_ONCE]
        tokens = model(batch.tokens)[:, :, action].argmax(-1).numpy()
        since = np.arange(model.context_length)
        rows = places.start[:, None] + since
        recorded = np.asarray(columns.actions[rows]).reshape(*rows.shape, size)
        values = tokens
        if columns.facts.action.kind == "box":
            table = model.token_values[action].numpy()
            values = table[np.arange(size), tokens]
        timesteps = places.timestep[:, None] + since
        yield _Piece(values, recorded, np.where(batch.mask.numpy(), timesteps, 0), batch.mask.numpy())


def shifted_requests(
    batch: WindowBatch, changes: np.ndarray, facts: DatasetFacts, discount: float
) -> Iterator[WindowBatch]:
    """Windows of episodes that were asked for more from their start, or for less.

    With a discount the change at step t is divided by ``discount ** t``, and requests stay within what the data's
    rewards can add up to before the time limit, as in `seqrl.policies.SequencePolicy`.

    Args:
        batch: B windows.
        changes: (N, B) of the return at the first step, in the unit of the data.
        facts: of the data that the run learned from.
        discount: of the returns-to-go.

    Yields:
        The batch with other requests, N times.
    """
    recorded, timesteps = batch.returns_to_go.double().numpy(), batch.timesteps.numpy()
    low, high = -np.inf, np.inf
    if discount < 1:
        left = facts.step_limit - np.arange(timesteps.max() + 1)
        bounds = np.array([discounted_bounds(facts, discount, max(int(steps), 0)) for steps in left])
        low, high = bounds[timesteps, 0], bounds[timesteps, 1]
    faded = np.maximum(discount**timesteps, _FAINTEST)
    for change in changes:
        asked = np.clip(recorded + change[:, None] / faded, low, high)
        yield replace(batch, returns_to_go=torch.from_numpy(asked).float())


def _response(
    spec: OpenLoopSpec, model: ActionModel, facts: DatasetFacts, columns: Columns, episodes: np.ndarray
) -> dict[str, Any]:
    """What the model answers at recorded steps when their whole episode is asked for another return.

    A request of ``target`` for an episode that paid G shifts the returns-to-go of its window by ``target - G``.
    """
    windows = Windows(columns, model.context_length, discount=model.discount, episodes=episodes)
    batch = windows.sample(spec.response_steps, spec.seed, 0)
    chosen = windows.index.sample(spec.response_steps, spec.seed, 0).episode
    every = np.asarray(windows.returns_to_go[columns.episodes["start"].to_numpy()], dtype=np.float64)
    returns, data = every[episodes], (float(every.min()), float(every.max()))
    targets = np.array(spec.targets) if spec.targets else np.linspace(*data, _TARGETS)
    last = batch.mask.sum(dim=1) - 1
    asked = shifted_requests(batch, targets[:, None] - returns[chosen], facts, model.discount)
    values = np.stack([_last_answers(model, requests, last) for requests in asked])  # (targets, steps, A)
    action = columns.facts.action
    names = list(action.labels if action.kind == "discrete" and action.labels else action.names)
    if action.kind == "multi_discrete":
        pairs = zip(action.names, action.categories, strict=True)
        names = [f"{name} is {value}" for name, size in pairs for value in range(size)]
    shown = names[:_SHOWN_DIMENSIONS] if action.kind == "box" else names
    scale = action_scale(action)[1].numpy() if action.kind == "box" else 1.0
    return {
        "targets": targets.tolist(),
        "names": shown,
        "values": values.mean(axis=1)[:, : len(shown)].tolist(),
        "change": float((np.abs(values[-1] - values[0]) / scale).mean()),
        "data": data,
    }


def _last_answers(model: ActionModel, batch: WindowBatch, last: Tensor) -> np.ndarray:
    """(B, O): probabilities side by side, or actions, at the last real step of every window."""
    outputs = model(batch)[torch.arange(len(last)), last]
    decoded = model.head.decode(outputs)
    if model.head.kind == "categorical":
        return torch.cat([part.softmax(-1) for part in decoded.split(model.head.categories, dim=-1)], dim=-1).numpy()
    return (decoded[:, 0] if model.head.kind == "gaussian" else decoded).numpy()


def _sentence(result: dict[str, Any]) -> str:
    overall, baseline = result["overall"], result["baseline"]
    text = f"on episodes {SPLITS[result['split']]} "
    if result["measure"] == "error":
        text += f"the action is off by {overall:.3g} half ranges, the mean action by {baseline:.3g}"
    else:
        text += f"{overall:.1%} of the actions differ, {baseline:.1%} with always the same action"
    response = result["response"]
    if response is not None:
        text += f"; from the lowest to the highest request the answer changes by {response['change']:.3g}"
    return text
