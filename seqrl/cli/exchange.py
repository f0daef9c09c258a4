"""Datasets and models in and out: further commands of ``dataset``, and all of ``run`` and ``evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from seqrl import jobs
from seqrl.cli import datasets
from seqrl.cli.archive import Archived, add_archive
from seqrl.cli.grids import show_runs
from seqrl.cli.session import (
    AsJson,
    Detach,
    Failure,
    Seed,
    Session,
    cell_text,
    run_values,
    session,
    show,
    show_table,
)
from seqrl.config import (
    DeriveJob,
    DeriveSpec,
    DownloadJob,
    DownloadSpec,
    EpisodePart,
    ImportJob,
    ImportSpec,
    JobSpec,
    OpenLoopJob,
    OpenLoopSpec,
    RunImportJob,
    RunImportSpec,
    evaluation_name,
    parse_numbers,
)
from seqrl.files import expanded, read_capped
from seqrl.store import JobRow, Store

runs = typer.Typer(help="Trained models: a list, and in and out.", no_args_is_help=True)
evaluations = typer.Typer(help="Measure without an environment.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(help="File or folder of this machine.", metavar="PATH")]
DatasetName = Annotated[str, typer.Option("--name", help="What to call the dataset.")]
Environment = Annotated[
    str, typer.Option("--env", help="Registered Gymnasium id; none; or auto, to believe the file if seqrl knows it.")
]
_MOST_STATISTICS_BYTES = 16 * 2**20


@datasets.app.command("import")
def import_dataset(
    context: typer.Context,
    path: Source,
    name: DatasetName,
    format: Annotated[str, typer.Option(help="auto, minari, d4rl, npz, parquet or hf.")] = "auto",
    environment: Environment = "auto",
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Read a dataset that somebody else wrote."""
    values = {"name": name, "path": _absolute(path), "format": format, "environment": environment}
    _make_dataset(session(context), ImportJob(spec=ImportSpec.model_validate(values)), name, as_json, detach)


@datasets.app.command("download")
def download(
    context: typer.Context,
    minari_id: Annotated[str, typer.Argument(help="As on minari.farama.org, such as mujoco/hopper/expert-v0.")],
    name: DatasetName,
    environment: Environment = "auto",
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a dataset of the Minari server."""
    spec = DownloadSpec.model_validate({"name": name, "minari_id": minari_id, "environment": environment})
    _make_dataset(session(context), DownloadJob(spec=spec), name, as_json, detach)


@datasets.app.command("export")
def export(
    context: typer.Context,
    name: str,
    path: Annotated[Path, typer.Argument(help="File (Parquet) or folder (Minari) to write; must not exist.")],
    format: Annotated[str, typer.Option(help="minari or parquet.")] = "parquet",
    as_json: AsJson = False,
) -> None:
    """Write a dataset for others: Parquet, one row a step, or Minari."""
    from seqrl.datasets import ensure_columns
    from seqrl.datasets.exporting import export_minari, export_parquet
    from seqrl.store.base import minari_id

    if format not in ("minari", "parquet"):
        raise ValueError(f"format is {format!r}; choose minari or parquet")
    columns = ensure_columns(session(context).store, name)
    if format == "parquet":
        export_parquet(columns, path)
    else:
        export_minari(columns, path, minari_id(name))
    show({"name": name, "path": str(path), "format": format}, as_json, f"{name} is in {path}")


@datasets.app.command("combine")
def combine(
    context: typer.Context,
    sources: Annotated[list[str], typer.Argument(help="Datasets whose episodes are taken, in this order.")],
    name: DatasetName,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Make one dataset of several."""
    spec = DeriveSpec.model_validate({"name": name, "sources": sources})
    _make_dataset(session(context), DeriveJob(spec=spec), name, as_json, detach)


@datasets.app.command("filter")
def filter_(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The dataset whose episodes are taken.")],
    name: DatasetName,
    minimum_return: Annotated[float | None, typer.Option("--min-return", help="Leave out what paid less.")] = None,
    maximum_return: Annotated[float | None, typer.Option("--max-return", help="Leave out what paid more.")] = None,
    minimum_length: Annotated[int | None, typer.Option("--min-length", help="Leave out shorter ones.")] = None,
    maximum_length: Annotated[int | None, typer.Option("--max-length", help="Leave out longer ones.")] = None,
    tiers: Annotated[list[str] | None, typer.Option("--tier", help="Keep this tier; may be repeated.")] = None,
    observations: Annotated[
        str | None, typer.Option(help="Keep only these numbers of an observation, such as 0:9:1 or 3,7.")
    ] = None,
    actions: Annotated[str | None, typer.Option(help="Keep only these numbers of an action.")] = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Keep the episodes within a range of returns or lengths, of some tiers, or some of their dimensions."""
    values = {
        "name": name,
        "sources": [source],
        "minimum_return": minimum_return,
        "maximum_return": maximum_return,
        "minimum_length": minimum_length,
        "maximum_length": maximum_length,
        "tiers": tiers or [],
        "observation_dimensions": parse_numbers(observations, "observations") if observations else [],
        "action_dimensions": parse_numbers(actions, "actions") if actions else [],
    }
    _make_dataset(session(context), DeriveJob(spec=DeriveSpec.model_validate(values)), name, as_json, detach)


@datasets.app.command("hindsight")
def hindsight(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A dataset whose observations name their goal.")],
    name: DatasetName,
    stretches: Annotated[int, typer.Option(help="So many are cut out of each episode.")] = 4,
    mean_steps: Annotated[float, typer.Option(help="Mean length of a stretch.")] = 10.0,
    tolerance: Annotated[float, typer.Option(help="A goal counts as reached within this distance.")] = 0.0,
    seed: Seed = 0,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Take stretches of episodes as if what they reached had been their goal; each step costs 1."""
    values = {"stretches": stretches, "mean_steps": mean_steps, "tolerance": tolerance, "seed": seed}
    spec = DeriveSpec.model_validate({"name": name, "sources": [source], "hindsight": values})
    _make_dataset(session(context), DeriveJob(spec=spec), name, as_json, detach)


@datasets.app.command("split")
def split(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The dataset whose episodes are taken.")],
    names: Annotated[str, typer.Option("--names", help="What to call the two sides, such as train,test.")],
    fraction: Annotated[float, typer.Option(help="Share of the episodes on the first side.")] = 0.9,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Divide the episodes of a dataset between two new ones."""
    here = session(context)
    sides = [name.strip() for name in names.split(",")]
    if len(sides) != 2 or not all(sides) or sides[0] == sides[1]:
        raise ValueError(f"names is {names!r}; write two different ones, such as train,test")
    made = []
    specs = []
    for name, side in zip(sides, ("first", "second"), strict=True):
        part = EpisodePart.model_validate({"fraction": fraction, "side": side, "seed": seed})
        specs.append(DeriveSpec.model_validate({"name": name, "sources": [source], "part": part}))
    for spec in specs:
        here.run(DeriveJob(spec=spec), as_json=True, detach=False, on_success=lambda job: None)
        made.append(datasets.dataset_values(here.store.dataset(spec.name)))
    text = ", ".join(f"{values['name']} with {values['episodes']:,} episodes" for values in made)
    show(made, as_json, text)


@runs.command("list")
def list_runs(
    context: typer.Context,
    archived: Archived = False,
    as_json: AsJson = False,
) -> None:
    """List the runs, those of a grid together."""
    here = session(context)
    jobs.reconcile(here.store)
    show_runs(here, as_json, archived)


add_archive(runs, "run", Store.archive_run, Store.restore_run, lambda store, name: run_values(store.run(name)))


@runs.command("import")
def import_run(
    context: typer.Context,
    path: Source,
    name: Annotated[str, typer.Option("--name", help="What to call the run.")],
    format: Annotated[str, typer.Option(help="hf (a folder of transformers) or zip (an exported run).")] = "hf",
    environment: Environment = "auto",
    dataset: Annotated[str | None, typer.Option(help="The data that it was trained on, for its statistics.")] = None,
    statistics: Annotated[
        Path | None, typer.Option(help="JSON with observation_mean and observation_std, instead of a dataset.")
    ] = None,
    return_scale: Annotated[float, typer.Option(help="Returns-to-go were divided by this.")] = 1000.0,
    context_length: Annotated[int, typer.Option(help="Steps of history that it was trained on.")] = 20,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Read a model that was trained elsewhere."""
    here = session(context)
    values: dict[str, Any] = {
        "name": name,
        "path": _absolute(path),
        "format": format,
        "environment": environment,
        "dataset": dataset,
        "return_scale": return_scale,
        "context_length": context_length,
        **(_statistics(statistics) if statistics is not None else {}),
    }
    spec = RunImportSpec.model_validate(values)

    def done(job: JobRow) -> None:
        run = here.store.run(name)
        where = run.facts.environment or "no environment"
        show(
            run_values(run),
            as_json,
            f"{name}: {run.spec.model.layers} layers of {run.spec.model.embedding_dim}, {where}",
        )

    here.run(RunImportJob(spec=spec), as_json=as_json, detach=detach, on_success=done)


@runs.command("export")
def export_run(
    context: typer.Context,
    name: str,
    path: Annotated[Path, typer.Argument(help="Folder (hf) or archive (zip) to write; must not exist.")],
    format: Annotated[str, typer.Option(help="hf (for transformers) or zip (for another seqrl).")] = "hf",
    as_json: AsJson = False,
) -> None:
    """Write a model for others."""
    from seqrl.huggingface import export_archive, export_huggingface
    from seqrl.jobs import usable_run

    if format not in ("hf", "zip"):
        raise ValueError(f"format is {format!r}; choose hf or zip")
    store = session(context).store
    usable_run(store, name)
    write = export_huggingface if format == "hf" else export_archive
    write(store.run_folder(name), path)
    show({"name": name, "path": str(path), "format": format}, as_json, f"{name} is in {path}")


@evaluations.command("open-loop")
def open_loop(
    context: typer.Context,
    run: Annotated[str, typer.Option(help="The trained model.")],
    dataset: Annotated[str, typer.Option(help="The recorded episodes.")],
    name: Annotated[str | None, typer.Option(help="What to call the evaluation; made from both if missing.")] = None,
    episodes: Annotated[int, typer.Option(help="At most so many episodes.")] = 32,
    targets: Annotated[str | None, typer.Option(help="Returns to ask for: 25,50,100 or 50:500:50.")] = None,
    seed: Seed = 0,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Compare what a run would do with what was recorded, and how it answers to requests."""
    here = session(context)
    values = {
        "name": name or evaluation_name(run, dataset),
        "run": run,
        "dataset": dataset,
        "episodes": episodes,
        "targets": list(parse_numbers(targets)) if targets else [],
        "seed": seed,
    }
    spec = OpenLoopSpec.model_validate(values)

    def done(job: JobRow) -> None:
        result = here.store.evaluation(spec.name)
        if as_json:
            typer.echo(json.dumps(result, indent=2))
            return
        typer.echo(result["sentence"])
        show_table(result["by_context"], False, ("position", "n", "mean"), empty="nothing was measured")
        response = result["response"]
        for target, row in zip(response["targets"], response["values"], strict=True) if response else ():
            typer.echo(f"asked for {target:g}: {', '.join(cell_text(value) for value in row)}")

    here.run(OpenLoopJob(spec=spec), as_json=as_json, detach=detach, on_success=done)


def _make_dataset(here: Session, job: JobSpec, name: str, as_json: bool, detach: bool) -> None:
    def done(row: JobRow) -> None:
        dataset = here.store.dataset(name)
        show(datasets.dataset_values(dataset), as_json, datasets.dataset_summary(dataset))

    here.run(job, as_json=as_json, detach=detach, on_success=done)


def _absolute(path: str) -> str:
    """The worker has another working folder."""
    return str(expanded(path))


def _statistics(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_capped(path, _MOST_STATISTICS_BYTES))
    except ValueError as error:
        raise Failure(f"{path} holds no JSON: {error}", 2) from error
    known = ("observation_mean", "observation_std")
    if not isinstance(values, dict) or not all(isinstance(values.get(key), list) for key in known):
        raise Failure(f"{path} needs the lists observation_mean and observation_std", 2)
    return {key: values[key] for key in known}
