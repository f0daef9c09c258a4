"""One run: what it is, what can be done with it, its notes and its log; and how several differ."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages.shared.charts import chart
from pages.shared.exports import csv_button, json_button
from pages.shared.frame import controls, link_to, problems, start_among, style
from pages.shared.jobs import STATES, log, stop_job
from pages.shared.run_exchange import export
from pages.shared.sweep_view import kind_of
from seqrl import jobs, plots
from seqrl.config import RunSpec
from seqrl.plots.format import count, duration, number, percent
from seqrl.registry import MODELS
from seqrl.store import RunRow, Store

LEAST_COMPARED, MOST_UPRIGHTS = 4, 6


def detail(store: Store, row: RunRow) -> None:
    """State and figures of a run, its actions, note, tags and log."""
    icon, state = STATES[row.state]
    with st.container(border=True):
        cells = st.grid("auto", min_column_width=140)
        cells.metric("State", state.capitalize())
        cells.metric("Step", f"{number(row.step)} / {number(row.steps)}")
        cells.metric("Best validation loss", number(row.best_value))
        cells.metric("Took" if row.finished else "Running for", duration(_seconds(row)) if row.started else "–")
        if row.message and row.state in ("failed", "interrupted", "running"):
            st.markdown(f"{icon} {row.message[:1].upper()}{row.message[1:]}")
        elif row.message:
            st.caption(f"Its job held {row.message}.")
        _actions(store, row)
        if not store.bundled(row.name):
            _notes(store, row)
        elif row.note:
            st.caption(row.note)
        if row.facts.environment is None:
            st.caption("No sweep: its data comes without an environment, so nothing can be played.")
        _weights(store, row)
        if store.has_checkpoint(row.name):
            export(store, row)
        if row.job_id is not None:
            log(row.job_id)


def _weights(store: Store, row: RunRow) -> None:
    """Histograms of weights and gradients over the training; read only when they are looked at."""
    fold = st.expander("Weights and gradients", icon=":material/grid_on:", on_change="rerun", key=f"weights.{row.name}")
    if not fold.open:
        return
    with fold:
        names = store.histogram_names(row.name)
        if not names:
            st.caption(
                f"None yet: they are written every {count(row.spec.training.histogram_every, 'step')} "
                "(Histograms every, under Training)."
            )
            return
        name = st.selectbox("Of", names, key=f"weights.{row.name}.of")
        info = plots.weight_histograms_info(store.histograms(row.name, name), name)
        chart(plots.weight_histograms(info, *style()), f"weights-{row.name}-{name}", name, plots.sentence(info))


def _seconds(row: RunRow) -> float:
    return max(0.0, (row.finished or time.time()) - (row.started or row.created))  # clocks are set back at times


def _actions(store: Store, row: RunRow) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if row.job_id is not None and row.state in ("queued", "running"):
            stopping = store.job(row.job_id).cancel_requested is not None
            if st.button("Stopping" if stopping else "Stop", icon=":material/stop:", key="run.stop", disabled=stopping):
                stop_job(row.job_id)
                st.rerun()
        elif row.job_id is not None and jobs.can_resume(store, store.job(row.job_id)) and row.state != "succeeded":
            if st.button("Resume", icon=":material/play_arrow:", key="run.resume"):
                jobs.resume(store, row.job_id)
                st.rerun()
        if store.has_checkpoint(row.name) and row.facts.environment:
            link_to("pages/rtg_sweep.py", "Ask it for returns", ":material/target:", {"ask": row.name})
        if store.has_checkpoint(row.name):
            link_to(
                "pages/open_loop.py",
                "Compare with records",
                ":material/compare_arrows:",
                {"evaluate": row.name},
                help="How far its actions are from recorded ones; needs no environment.",
            )
        if row.facts.environment and row.spec.model.kind == "tt" and store.has_checkpoint(row.name):
            link_to("pages/beam_planning.py", "Let it plan", ":material/account_tree:", {"plan.with": row.name})
        link_to(
            "pages/train.py",
            "Clone",
            ":material/content_copy:",
            clone_query(row.spec),
            help="Train again with the same settings, or change some first.",
        )
        if not store.bundled(row.name) and row.state not in ("queued", "running"):
            if st.button(
                "Archive", icon=":material/archive:", key="run.archive", type="tertiary", help="Hidden, not destroyed."
            ):
                store.archive_run(row.name)
                st.rerun()
        json_button(row.spec, f"run-{row.name}", "Spec as JSON")
        csv_button(lambda: store.metrics(row.name), f"metrics-{row.name}", "Metrics as CSV")


def _notes(store: Store, row: RunRow) -> None:
    """Tags and note; written when somebody changes them here, for the same run may be open elsewhere."""
    known = sorted({tag for run in store.runs() for tag in run.tags})
    tags, note = f"tags.{row.name}", f"note.{row.name}"
    for key, stored in ((tags, list(row.tags)), (note, row.note)):
        if st.session_state.get(key) != stored:  # not what was last typed here, so it was changed elsewhere
            st.session_state[key] = stored

    @problems()
    def keep(key: str, write: Callable[[str, Any], None]) -> None:
        """Store what was just typed; none is where the page was left in that moment."""
        if key in st.session_state:
            write(row.name, st.session_state[key])

    left, right = st.columns([2, 3])
    left.multiselect(
        "Tags",
        known,
        accept_new_options=True,
        key=tags,
        on_change=keep,
        args=(tags, store.set_run_tags),
        placeholder="Add a tag",
    )
    right.text_input(
        "Note", key=note, on_change=keep, args=(note, store.set_run_note), placeholder="What was tried here?"
    )


def clone_query(spec: RunSpec) -> dict[str, str]:
    """The address of the Train page with the settings of a run filled in, and nothing left to vary."""
    model = spec.model.model_dump(mode="json")
    kind = model.pop("kind")
    query = {"dataset": spec.dataset, "model": MODELS[kind].label, "preset": "Custom", "vary": "", "seeds": ""}
    query |= {f"custom.{kind}.{name}": _address(value) for name, value in model.items()}
    training = spec.training.model_dump(mode="json")
    query |= {f"custom.{name}": _address(value) for name, value in training.items()}
    return query | {"train.seed": str(spec.seed)}


def _address(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def settings_table(rows: Sequence[RunRow]) -> pd.DataFrame:
    """One row a run, a column a setting ("training.learning_rate"); settings that a model lacks are missing."""
    table = {}
    for row in rows:
        values: dict[str, Any] = {"dataset": row.spec.dataset, "model.kind": row.spec.model.kind}
        values |= {"preset": row.spec.preset, "seed": row.spec.seed}
        values |= {f"model.{name}": value for name, value in row.spec.model.model_dump(mode="json").items()}
        values |= {f"training.{name}": value for name, value in row.spec.training.model_dump(mode="json").items()}
        table[row.name] = values
    return pd.DataFrame.from_dict(table, orient="index")


def model_name(row: RunRow) -> str:
    """The family of a run in letters: DT, TT, BC, %BC or RvS."""
    return "%BC" if kind_of(row) == "%bc" else MODELS[row.spec.model.kind].label


def compared_with(row: RunRow) -> str:
    """Names the runs whose losses can be compared: same episodes, and the loss of an action or of every token."""
    if row.spec.model.kind == "tt":
        return f"{row.spec.dataset} · TT"
    share = getattr(row.spec.model, "top_fraction", 1.0)
    return row.spec.dataset if share == 1 else f"the best {percent(share)} of {row.spec.dataset}"


def matches(row: RunRow, words: str) -> bool:
    """Whether a run holds all of these words in its name, grid, model, dataset, state, tags or note."""
    told = (row.name, row.grid or "", model_name(row), row.spec.dataset, STATES[row.state][1], *row.tags, row.note)
    return all(word in " ".join(told).casefold() for word in words.casefold().split())


def settings_and_results(rows: Sequence[RunRow], kinds: Mapping[str, str], first: RunRow | None) -> None:
    """Settings and best loss of finished runs that can be compared, in parallel coordinates; from four runs on.

    Args:
        rows: all runs.
        kinds: run → its family, for the colour.
        first: begin with those that can be compared with this one.
    """
    finished = [row for row in rows if row.best_value is not None]
    amounts = Counter(compared_with(row) for row in finished)
    options = [name for name, amount in amounts.most_common() if amount >= LEAST_COMPARED]
    if not options:
        return
    st.subheader("Settings and what came of them", anchor=False)
    with controls("Which settings").container(horizontal=True, vertical_alignment="bottom"):
        wanted = compared_with(first) if first else ""
        start_among("settings.of", options, wanted if wanted in options else options[0])
        chosen = st.selectbox(
            "Runs on",
            options,
            index=None,
            key="settings.of",
            bind="query-params",
            width=300,
            help="Losses on different data cannot be compared, nor those of a Trajectory Transformer, which predicts "
            "every token, with those of models that predict actions.",
        )
        of = chosen or options[0]
        comparable = [row for row in finished if compared_with(row) == of]
        table = settings_table(comparable).drop(columns="dataset")
        table["best loss"] = [row.best_value for row in comparable]
        differing = [name for name in table.columns[:-1] if table[name].astype(str).nunique() > 1]
        shown = st.multiselect(
            "Settings",
            differing,
            default=plots.telling_settings(table[[*differing, "best loss"]], "best loss", MOST_UPRIGHTS),
            key=f"settings.{of}",
            format_func=lambda name: name.replace(".", ": ").replace("_", " "),
            help=f"At first those that explain most of the best loss, {MOST_UPRIGHTS} at most.",
        )
    info = plots.parallel_runs_info(table[[*shown, "best loss"]], "best loss", kinds=kinds, lower_is_better=True)
    chart(
        plots.parallel_runs(info, *style()),
        "runs-parallel",
        f"Settings and best loss of the runs on {of} in parallel coordinates",
        plots.sentence(info),
        table=table.reset_index(names="run"),
    )


def differences(rows: Sequence[RunRow]) -> None:
    """The settings in which the shown runs differ, one row a setting."""
    table = settings_table(rows)
    differing = [name for name in table if table[name].astype(str).nunique() > 1]
    title = f"What differs between {count(len(rows), 'run')}: {count(len(differing), 'setting')}"
    with st.expander(title, icon=":material/difference:"):
        if not differing:
            st.markdown("Nothing: they were trained with the same settings.")
            return
        shown = table[differing].T.astype(object).map(lambda value: "–" if pd.isna(value) else str(value))
        shown = shown.reset_index(names="setting")
        st.dataframe(shown, hide_index=True, alt="Settings in which the shown runs differ")
        csv_button(shown, "runs-differences")
