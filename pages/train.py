"""Train: a dataset, a model, how, once or with several values; an honest estimate; into the queue."""

import streamlit as st

from pages.shared import forms, grid_form
from pages.shared.estimates import training_seconds
from pages.shared.exports import json_button
from pages.shared.frame import empty_state, heading, link_to, newest, open_store, start_with
from pages.shared.jobs import memory_held, progress, queue, submit
from pages.shared.names import name_field
from seqrl.config import GridSpec, RunSpec, TrainingSpec, TrainJob, check_run, parse_model
from seqrl.plots.format import count, duration, number
from seqrl.registry import MODELS

heading("Train", "Which model learns from which data, how long it takes, and every setting it has.")
store = open_store()
datasets = [row for row in store.datasets() if row.facts is not None]
if not datasets:
    empty_state(
        "There is no data to learn from yet",
        "Collect a dataset first; the default one takes a few seconds.",
        "Build a dataset",
        "pages/datasets.py",
        {"do": "Build"},
    )
    st.stop()

left, right = st.columns([3, 2], gap="large")
with left:
    names = [row.name for row in datasets]
    by_name = {row.name: row for row in datasets}

    start_with("dataset", newest(names), names)
    dataset = st.selectbox("Dataset", names, index=None, key="dataset", bind="query-params") or names[0]
    facts = by_name[dataset].facts
    assert facts is not None  # noqa: S101 - only built datasets are listed
    st.caption(
        f"{facts.environment or 'no environment'} · {count(facts.episodes, 'episode')} · "
        f"mean return {number(facts.returns.mean)}"
    )
    side_by_side = st.container(horizontal=True, gap="medium")  # below each other where they would be cut
    kind_side, preset_side = side_by_side.container(width="content"), side_by_side.container(width="content")
    kinds = {row.label: kind for kind, row in MODELS.items()}
    with kind_side:
        label = st.segmented_control(
            "Model", list(kinds), default=next(iter(kinds)), required=True, key="model", bind="query-params"
        )
        model = kinds[label]
        st.caption(MODELS[model].title)
    presets = {preset.title: key for key, preset in MODELS[model].presets.items()} | {"Custom": "custom"}
    with preset_side:
        title = st.segmented_control(
            "Preset",
            list(presets),
            default=next(iter(presets)),
            required=True,
            help="Where the settings below start from.",
            key="preset",
            bind="query-params",
        )
    name_side, seed_side = st.columns([2, 1])
    wish = f"{model}-{dataset.removeprefix('demo/')}"
    if grid_form.is_wished():
        about = "How the grid is called; its runs are named after it. That of an earlier grid adds runs to it."
        earlier = st.query_params.get("grid")
        if earlier is not None and store.has_grid(earlier):
            name = name_side.text_input("Name", earlier, key=f"grid.name.{earlier}", help=about)
        else:
            wish = store.free_name("grids", f"{wish}-grid")
            name = name_field(name_side, "Name", wish, f"name.grid.{model}.{dataset}", about)
    else:
        about = "How the run is called on every page."
        name = name_field(name_side, "Name", wish, f"name.{model}.{dataset}", about)
    with seed_side:
        seed = forms.field(RunSpec, "seed", "train.seed")

known = facts
preset = presets[title]
row = MODELS[model]
start_model = dict(row.presets[preset].model) if preset in row.presets else {}
start_training = dict(row.presets[preset].training) if preset in row.presets else {}
with st.expander("Model", icon=":material/account_tree:"):
    model_values = forms.fields(row.spec, f"{preset}.{model}.", defaults=start_model, advanced_title="")
with st.expander("Training", icon=":material/tune:"):
    training_values = forms.fields(TrainingSpec, f"{preset}.", defaults=start_training, advanced_title="")
now = {f"model.{key}": value for key, value in model_values.items()}
now |= {f"training.{key}": value for key, value in training_values.items()}
axes, seeds = grid_form.several(row.spec, now)


def make() -> RunSpec:
    """The spec that the form describes."""
    spec = RunSpec(
        name=name,
        dataset=dataset,
        model=parse_model({"kind": model, **model_values}),
        training=TrainingSpec(**training_values),
        preset=preset,
        seed=seed,
    )
    check_run(spec, known)
    return spec


def refused(sentence: str) -> None:
    """Why nothing can be trained, above the button that would."""
    forms.complain(sentence)
    st.button("Train", type="primary", icon=":material/play_arrow:", disabled=True, key="train.submit")


def one_run(spec: RunSpec) -> None:
    """What a training costs, and the button that starts it."""
    seconds, source = training_seconds(store, spec)
    st.metric("It will take about", duration(seconds), help=f"The estimate is {source}.")
    windows = spec.training.batch_size * spec.training.steps
    st.caption(
        f"{count(spec.training.steps, 'step')} of {count(spec.training.batch_size, 'window')} each, which is "
        f"{number(windows / max(1, known.steps), 2)} windows for every step of the data. Estimate {source}."
    )
    if st.button("Train", type="primary", icon=":material/play_arrow:", key="train.submit"):
        job = submit(TrainJob(spec=spec))
        if job is not None:
            st.session_state["train.job"] = job.id
            st.rerun()
    json_button(spec, f"run-{spec.name}", "Spec as JSON")


def several_runs(spec: GridSpec) -> None:
    """What a grid costs, and the button that starts it."""
    begun = grid_form.grid_panel(store, spec)
    if begun is not None:
        st.session_state["train.grid"] = begun
        st.rerun()


with right:
    with st.container(border=True):
        if grid_form.is_wished():
            grid, problem = forms.validated(lambda: grid_form.grid_of(make(), axes, seeds))
            if grid is None:
                refused(problem)
            else:
                several_runs(grid)
        else:
            spec, problem = forms.validated(make)
            if spec is None:
                refused(problem)
            else:
                one_run(spec)
    if "train.grid" in st.session_state:
        grid_form.started(store, st.session_state["train.grid"])
    job_id = st.session_state.get("train.job")
    if job_id is not None:
        job = store.job(job_id)
        progress(job_id, "train.progress")
        if job.state == "succeeded":
            st.success(f"{job.name} is trained.", icon=":material/check_circle:")
            memory_held(job)
        watch, ask = st.columns(2)
        with watch:
            shown = {"runs.view": "Runs", "runs": job.name}
            link_to("pages/runs.py", "Watch it learn", ":material/monitoring:", shown)
        with ask:
            if job.state == "succeeded" and store.run(job.name).facts.environment is None:
                link_to(
                    "pages/open_loop.py",
                    "Compare with records",
                    ":material/compare_arrows:",
                    {"evaluate": job.name},
                )
            elif job.state == "succeeded":
                link_to("pages/rtg_sweep.py", "Ask it for returns", ":material/target:", {"ask": job.name})
    queue()
