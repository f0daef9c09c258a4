"""Datasets and models from elsewhere: what to read, how to combine it, what to hand out, what to measure without an
environment.
"""

from __future__ import annotations

from typing import Literal, Self
from zlib import crc32

from pydantic import model_validator

from seqrl.config.base import Name, Spec, Target, setting

ImportFormat = Literal["auto", "minari", "d4rl", "npz", "parquet", "hf"]


class ImportSpec(Spec):
    """A dataset to read from a file or folder of this machine."""

    name: Name = setting(..., "Name", "How the dataset is called on every page.")
    path: str = setting(..., "Path", "File or folder to read.", min_length=1, max_length=4096)
    format: ImportFormat = setting(
        "auto",
        "Format",
        "Minari, D4RL-style HDF5, NPZ, Parquet, or a folder of Hugging Face datasets; auto looks at the content.",
    )
    environment: str = setting(
        "auto",
        "Environment",
        "Registered Gymnasium id that the episodes come from; none if there is none; auto believes the file if it "
        "names an environment that seqrl knows.",
        min_length=1,
        max_length=200,
    )
    environment_kwargs: dict[str, bool | int | float | str] = setting(
        {}, "Environment settings", "Keyword arguments of gymnasium.make.", advanced=True
    )
    remove_after: bool = setting(
        False, "Remove afterwards", "Whether the file is an upload that is deleted once it was read.", advanced=True
    )


class DownloadSpec(Spec):
    """A dataset of the Minari server."""

    name: Name = setting(..., "Name", "How the dataset is called on every page.")
    minari_id: str = setting(
        ...,
        "Minari id",
        "As listed on minari.farama.org, for example mujoco/hopper/expert-v0.",
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][A-Za-z0-9._-]*-v[0-9]+$",
        max_length=200,
    )
    environment: str = setting(
        "auto",
        "Environment",
        "Registered Gymnasium id; none; or auto, which believes the dataset if seqrl knows what it names.",
        min_length=1,
        max_length=200,
    )


class EpisodePart(Spec):
    """One side of a split into two: equal fractions and seeds give complementary sides."""

    fraction: float = setting(0.9, "Share", "Part of the episodes on the first side.", gt=0, lt=1, step=0.05)
    side: Literal["first", "second"] = setting("first", "Side", "Which of the two sides.")
    seed: int = setting(0, "Seed", "Decides which episode goes to which side.", ge=0, le=2**31 - 1)


class Hindsight(Spec):
    """Stretches of episodes as if what they reached had been their goal (Andrychowicz et al. 2017).

    A stretch begins at any step of an episode and ends when the goal is first reached; the goal is what was reached at
    a later step, the nearer the likelier. Each of its steps costs 1, and it is terminated.
    """

    stretches: int = setting(4, "Stretches", "So many are cut out of each episode.", ge=1, le=1000)
    mean_steps: float = setting(
        10.0, "Mean length", "Of a stretch, where the episode is long enough.", unit="steps", ge=1, le=10_000
    )
    tolerance: float = setting(
        0.0, "Tolerance", "A goal counts as reached within this distance, in the unit of its numbers.", ge=0
    )
    seed: int = setting(0, "Seed", "Decides which stretches are cut out.", ge=0, le=2**31 - 1)


class DeriveSpec(Spec):
    """A dataset made of the episodes of others: all of them, those that pass a filter, or one side of a split."""

    name: Name = setting(..., "Name", "How the new dataset is called on every page.")
    sources: tuple[Name, ...] = setting(
        ..., "Sources", "The datasets whose episodes are taken, in this order.", min_length=1, max_length=64
    )
    minimum_return: float | None = setting(
        None, "Return from", "Leave out episodes that paid less.", unit="reward", empty="all"
    )
    maximum_return: float | None = setting(
        None, "Return up to", "Leave out episodes that paid more.", unit="reward", empty="all"
    )
    minimum_length: int | None = setting(
        None, "Length from", "Leave out shorter episodes.", unit="steps", ge=1, empty="all"
    )
    maximum_length: int | None = setting(
        None, "Length up to", "Leave out longer episodes.", unit="steps", ge=1, empty="all"
    )
    tiers: tuple[str, ...] = setting((), "Tiers", "Keep only these; empty keeps all.", max_length=64)
    part: EpisodePart | None = setting(None, "Part", "One side of a split; empty keeps both.")
    hindsight: Hindsight | None = setting(
        None,
        "Goals in hindsight",
        "Take stretches of the episodes as if what they reached had been their goal; only where observations name "
        "their goal.",
        empty="whole episodes",
    )
    observation_dimensions: tuple[int, ...] = setting(
        (),
        "Observation dimensions",
        "Keep only these numbers of an observation, counted from 0; empty keeps all. The result has no environment.",
        max_length=8192,
        advanced=True,
    )
    action_dimensions: tuple[int, ...] = setting(
        (),
        "Action dimensions",
        "Keep only these numbers of an action, counted from 0; empty keeps all. The result has no environment.",
        max_length=8192,
        advanced=True,
    )

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> Self:
        for field in ("observation_dimensions", "action_dimensions"):
            chosen = getattr(self, field)
            if len(set(chosen)) < len(chosen) or min(chosen, default=0) < 0:
                raise ValueError(f"{field} holds a number twice or below 0; give each dimension once, counted from 0")
        for what in ("return", "length"):
            low, high = getattr(self, f"minimum_{what}"), getattr(self, f"maximum_{what}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"minimum_{what} is {low:g} but maximum_{what} is {high:g}; exchange them")
        if self.hindsight is not None and self.observation_dimensions:
            raise ValueError(
                "hindsight needs whole observations, for they name the goal; leave observation_dimensions empty"
            )
        if len(set(self.sources)) < len(self.sources):
            repeated = next(name for name in self.sources if self.sources.count(name) > 1)
            raise ValueError(f"sources names {repeated!r} twice; give each once")
        if self.name in self.sources:
            raise ValueError(f"name is {self.name}, which is also a source; choose a new name")
        return self


class ExportSpec(Spec):
    """A dataset to hand out, for a page that offers it as a download."""

    name: Name = setting(..., "Dataset", "The dataset to hand out.")
    format: Literal["minari", "parquet"] = setting("parquet", "Format", "Parquet: one row a step. Minari: zipped.")


class RunImportSpec(Spec):
    """A model from elsewhere that becomes a run.

    What a Hugging Face folder does not say (normalisation, return scale, context length) is given here or read from a
    dataset.
    """

    name: Name = setting(..., "Name", "How the run is called on every page.")
    path: str = setting(..., "Path", "Folder or ZIP archive to read.", min_length=1, max_length=4096)
    format: Literal["hf", "zip"] = setting(
        "hf", "Format", "hf: config.json and model.safetensors of a DecisionTransformerModel; zip: an exported run."
    )
    environment: str = setting(
        "auto",
        "Environment",
        "Registered Gymnasium id that it acts in; none; or auto: that of the dataset, or what the file names if "
        "seqrl knows it.",
        min_length=1,
        max_length=200,
    )
    environment_kwargs: dict[str, bool | int | float | str] = setting(
        {}, "Environment settings", "Keyword arguments of gymnasium.make.", advanced=True
    )
    dataset: Name | None = setting(None, "Dataset", "Its mean, spread and returns normalise; empty if given below.")
    observation_mean: tuple[float, ...] | None = setting(
        None, "Observation mean", "One number a dimension, in the environment's units.", advanced=True
    )
    observation_std: tuple[float, ...] | None = setting(
        None, "Observation spread", "Standard deviation of each dimension.", advanced=True
    )
    return_scale: float = setting(
        1000.0, "Return scale", "Returns-to-go were divided by this.", unit="reward", gt=0, le=1e12
    )
    context_length: int = setting(
        20, "Context length K", "Steps of history that the model was trained on.", unit="steps", ge=1, le=1000
    )
    remove_after: bool = setting(
        False, "Remove afterwards", "Whether the file is an upload that is deleted once it was read.", advanced=True
    )


class RunExportSpec(Spec):
    """A run to hand out, for a page that offers it as a download."""

    name: Name = setting(..., "Run", "The run to hand out.")
    format: Literal["zip", "hf"] = setting(
        "zip", "Format", "zip: for another seqrl; hf: a zipped folder for transformers (Decision Transformers only)."
    )


Split = Literal["validation", "training", "other"]

SPLITS: dict[Split, str] = {
    "validation": "kept out of training",
    "training": "seen in training",
    "other": "of other data (seen in training or not)",
}
"""What measured episodes were to a run, in words behind ``episodes``; other data may be derived from its own."""


class OpenLoopSpec(Spec):
    """What a run would have done on recorded episodes: for data without an environment, and quicker than one."""

    name: Name = setting(..., "Name", "How the evaluation is called.")
    run: Name = setting(..., "Run", "The trained model.")
    dataset: Name = setting(..., "Dataset", "The episodes; those of its own dataset are taken from its held-out part.")
    episodes: int = setting(32, "Episodes", "At most so many.", unit="episodes", ge=1, le=10_000)
    targets: tuple[Target, ...] = setting(
        (),
        "Targets",
        "Returns to ask for in the response curve; empty spans the data's own.",
        unit="reward",
        empty="the data's own",
        max_length=101,
    )
    response_steps: int = setting(
        64, "Response steps", "Recorded steps at which the response is asked.", unit="steps", ge=1, le=4096
    )
    seed: int = setting(0, "Seed", "Which episodes and steps are taken.", ge=0, le=2**31 - 1)


def evaluation_name(run: str, dataset: str) -> str:
    """What the evaluation of a run on a dataset is called if nobody says otherwise; a newer one replaces it.

    >>> evaluation_name("demo/dt", "records")
    'demo-dt-on-records'
    """
    return f"{_shortened(run, 30)}-on-{_shortened(dataset, 29)}"


def _shortened(name: str, most: int) -> str:
    """A name as a part of another; one that is cut ends with a checksum: seeds stand at the end."""
    plain = name.replace("/", "-")
    return plain if len(plain) <= most else f"{plain[: most - 9]}-{crc32(name.encode()):08x}"


class ImportJob(Spec):
    """Read a dataset from elsewhere into columns."""

    kind: Literal["import"] = "import"
    spec: ImportSpec


class DownloadJob(Spec):
    """Fetch a Minari dataset and read it into columns."""

    kind: Literal["download"] = "download"
    spec: DownloadSpec


class DeriveJob(Spec):
    """Combine, filter or split datasets."""

    kind: Literal["derive"] = "derive"
    spec: DeriveSpec


class ExportJob(Spec):
    """Write a dataset into a file that can be taken away."""

    kind: Literal["export"] = "export"
    spec: ExportSpec


class RunImportJob(Spec):
    """Read a model from elsewhere into a run."""

    kind: Literal["import_run"] = "import_run"
    spec: RunImportSpec


class RunExportJob(Spec):
    """Write a run into a file that can be taken away."""

    kind: Literal["export_run"] = "export_run"
    spec: RunExportSpec


class OpenLoopJob(Spec):
    """Measure a run on recorded episodes."""

    kind: Literal["open_loop"] = "open_loop"
    spec: OpenLoopSpec
