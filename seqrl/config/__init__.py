"""Every spec of the product, validated once.

The forms of the pages, the options of the command line and the JSON that is stored all come from
these frozen models; a refused value has the same one sentence everywhere (`explain`).
"""

from seqrl.config.base import NAME_PATTERN, Name, Spec, apply_overrides, explain, setting
from seqrl.config.datasets import BehaviourSpec, DatasetSpec, parse_mix
from seqrl.config.facts import DatasetFacts, ReturnSummary, SpaceFacts
from seqrl.config.imports import (
    DeriveJob,
    DeriveSpec,
    DownloadJob,
    DownloadSpec,
    EpisodePart,
    ExportJob,
    ExportSpec,
    ImportFormat,
    ImportJob,
    ImportSpec,
    OpenLoopJob,
    OpenLoopSpec,
    RunImportJob,
    RunImportSpec,
)
from seqrl.config.jobs import (
    BeamSweepJob,
    DatasetJob,
    JobSpec,
    RenderJob,
    ReturnSweepJob,
    TrainJob,
    parse_job,
)
from seqrl.config.models import (
    BehaviourCloningSpec,
    DecisionTransformerSpec,
    ModelSpec,
    RvsSpec,
    TrajectoryTransformerSpec,
    parse_model,
)
from seqrl.config.planning import BeamSweepSpec, PlanningSpec, SamplingSpec, check_beam_sweep, check_planning
from seqrl.config.sweeps import (
    Decoding,
    RenderSpec,
    ReturnSweepSpec,
    can_choose,
    check_return_sweep,
    discounted_bounds,
    offered_decodings,
    parse_numbers,
)
from seqrl.config.training import (
    RunSpec,
    TrainingSpec,
    check_run,
)

__all__ = [
    "NAME_PATTERN",
    "BeamSweepJob",
    "BeamSweepSpec",
    "BehaviourCloningSpec",
    "BehaviourSpec",
    "DatasetFacts",
    "DatasetJob",
    "DatasetSpec",
    "DecisionTransformerSpec",
    "Decoding",
    "JobSpec",
    "ModelSpec",
    "Name",
    "PlanningSpec",
    "RenderJob",
    "RenderSpec",
    "ReturnSummary",
    "ReturnSweepJob",
    "ReturnSweepSpec",
    "RunSpec",
    "RvsSpec",
    "SamplingSpec",
    "SpaceFacts",
    "Spec",
    "TrainJob",
    "TrainingSpec",
    "TrajectoryTransformerSpec",
    "apply_overrides",
    "can_choose",
    "check_beam_sweep",
    "check_planning",
    "check_return_sweep",
    "check_run",
    "discounted_bounds",
    "explain",
    "offered_decodings",
    "parse_job",
    "parse_mix",
    "parse_model",
    "parse_numbers",
    "setting",
    "DeriveJob",
    "DeriveSpec",
    "DownloadJob",
    "DownloadSpec",
    "EpisodePart",
    "ExportJob",
    "ExportSpec",
    "ImportFormat",
    "ImportJob",
    "ImportSpec",
    "OpenLoopJob",
    "OpenLoopSpec",
    "RunImportJob",
    "RunImportSpec",
]
