"""A recorded episode together with the run that played it, ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError

from seqrl.checkpoints import load_model
from seqrl.config import AttentionSpec, BeamSweepSpec, DatasetFacts, PlanningSpec, ResponseSpec, RunSpec
from seqrl.config.sweeps import Precision
from seqrl.models.trajectory_transformer import TrajectoryTransformer
from seqrl.probe.acting import Probe
from seqrl.probe.answers import Attention, History, ResponseCurve
from seqrl.probe.planning import TokenProbe
from seqrl.store import Store


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory."""

    model: Any
    spec: RunSpec
    facts: DatasetFacts

    @classmethod
    def of(cls, run_folder: Path, threads: int | None = None) -> Loaded:
        """The checkpoint of a run.

        Args:
            run_folder: of the run.
            threads: processor threads that this process computes with from now on; None leaves them as they are.

        Raises:
            OSError: if there is none.
            ValueError: if it is damaged.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            return cls(*load_model(run_folder))
        except SafetensorError as error:
            raise ValueError(f"the weights of {run_folder.name} are damaged ({error}); train it again") from error


class EpisodeProbe:
    """Everything that can be asked at a step of one episode.

    Args:
        run: that played it.
        history: what it saw.
        measured: spec of the sweep, its number format settled; says how the run acted.
        cell: of the record; says with which plans, in a beam sweep.
    """

    def __init__(self, run: Loaded, history: History, measured: Any, cell: Mapping[str, Any] | None = None) -> None:
        self.facts, self.history, about = run.facts, history, cell or {}
        self.acting: Literal["cached", "window"] = getattr(measured, "acting", "cached")
        self._probe: Probe | TokenProbe
        if isinstance(run.model, TrajectoryTransformer):
            planning = getattr(measured, "planning", None) or PlanningSpec()
            width = int(about.get("width", planning.beam_width))
            if width and isinstance(measured, BeamSweepSpec):
                planning = measured.cell_planning(width, int(about.get("horizon", planning.horizon)))
            self._probe = TokenProbe(run.model, run.spec, run.facts, planning, planned=width > 0)
        else:
            precision: Precision = "bf16" if getattr(measured, "precision", "") == "bf16" else "fp32"
            self._probe = Probe(run.model, run.spec, run.facts, precision)

    @classmethod
    def open(cls, store: Store, sweep: str, episode_id: int, run: Loaded | None = None) -> EpisodeProbe:
        """The probe of a recorded episode.

        Raises:
            ValueError: if there is no such episode, or its replay is not what was recorded.
        """
        record = store.episode_record(sweep, episode_id)
        run = run or Loaded.of(store.run_folder(record.run))
        measured, precision = store.sweep(sweep).spec, store.precisions(sweep).get(record.run)
        if precision is not None:
            measured = measured.model_copy(update={"precision": precision})
        return cls(run, History.of(record, run.facts), measured, record.cell)

    @property
    def conditioned(self) -> bool:
        """Whether the model itself is told a return."""
        return self._probe.conditioned

    @property
    def length(self) -> int:
        """Steps of the episode."""
        return len(self.history.actions)

    def attention(self, step: int) -> Attention:
        """Attention of every layer and head at a step.

        Raises:
            ValueError: if there is no such step, or the model has no attention.
        """
        if isinstance(self._probe, TokenProbe):
            return self._probe.attention(self.history, step)
        return self._probe.attention(self.history, step, acting=self.acting)

    def to_targets(self, step: int, returns_to_go: Sequence[float] | np.ndarray) -> ResponseCurve:
        """What the run would do at a step for other requests.

        Raises:
            ValueError: if there is no such step, or the model is told no return.
        """
        if isinstance(self._probe, TokenProbe) or not self.conditioned:
            raise ValueError(f"{self._probe.spec.name} is not told a return; vary a dimension of what it sees")
        return self._probe.response_curve(self.history, step, returns_to_go, acting=self.acting)

    def to_observation(self, step: int, dimension: str, values: Sequence[float] | np.ndarray) -> ResponseCurve:
        """What the run would do at a step if one dimension of what it sees were different.

        Raises:
            ValueError: if there is no such step, dimension or value.
        """
        if isinstance(self._probe, TokenProbe):
            return self._probe.response_to_observation(self.history, step, dimension, values)
        return self._probe.response_to_observation(self.history, step, dimension, values, acting=self.acting)


def ask(store: Store, spec: AttentionSpec | ResponseSpec) -> Attention | ResponseCurve:
    """Answer a stored question.

    Raises:
        ValueError: one sentence on what does not fit.
    """
    probe = EpisodeProbe.open(store, spec.sweep, spec.episode_id)
    if isinstance(spec, AttentionSpec):
        return probe.attention(spec.step)
    if spec.dimension:
        return probe.to_observation(spec.step, spec.dimension, spec.values)
    return probe.to_targets(spec.step, spec.values)
