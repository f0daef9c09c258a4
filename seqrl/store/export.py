"""Write the read-only bundle from a home: the same layout, small enough to live in a repository.

Step arrays are packed without loss into the smallest type that holds them, except what a model believed: action
probabilities and predictions are rounded to half precision and kept only for the first episodes of every point, the
plans of a beam search only for a sweep's last point, which its page opens with. ``index.json`` says so.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqrl.files import atomic_folder
from seqrl.store.bundle import BUNDLE_PREFIX, INDEX_NAME
from seqrl.store.columns import Columns
from seqrl.store.episodes import EPISODES_NAME, PACKED_NAME, STEPS_NAME
from seqrl.store.episodes import INDEX_NAME as STEP_INDEX_NAME
from seqrl.store.runs import CHECKPOINT, HISTOGRAMS_NAME, METRICS_NAME
from seqrl.store.samples import SAMPLE_NAME, evenly, sample_of, write_sample

if TYPE_CHECKING:
    import pandas as pd

    from seqrl.store import Store

BUNDLE_VERSION = 1
_BELIEFS = ("action_probabilities", "predicted_")
_PLANS = "plan_"
EPISODES_WITH_PROBABILITIES = 4
_NOTE = (
    "action probabilities and predictions are rounded to half precision and kept for the first "
    f"{EPISODES_WITH_PROBABILITIES} episodes of every point, plans for the last point of a sweep; everything else "
    "is exact"
)
_LEFT_OUT = ("training_state*", "events", "log.txt", ".*")


def export_bundle(
    store: Store,
    folder: Path,
    *,
    datasets: Sequence[str],
    runs: Sequence[str],
    sweeps: Sequence[str],
    media: Sequence[tuple[str, int]],
    command: str,
    samples: Mapping[str, int] | None = None,
    without_weights: Sequence[str] = (),
) -> None:
    """Write a bundle that replaces an older one in one step.

    Args:
        store: an authoring home, in which the names start with ``demo/``.
        folder: the bundle.
        datasets: kept as facts and episode tables; their columns are rebuilt from their specs when needed.
        runs: kept with the weights that act, curves and histograms.
        sweeps: kept with all records.
        media: (sweep, episode id) whose rendered videos are kept.
        command: what makes this bundle, for its index.
        samples: dataset → how many of its episodes, evenly spaced, are kept with all steps, so that a lesson has
            something to show before the columns are rebuilt.
        without_weights: runs that are kept as specs and curves only.

    Raises:
        NotFound: if something of it does not exist.
    """
    with atomic_folder(folder) as target:
        index = {
            "version": BUNDLE_VERSION,
            "command": command,
            "note": _NOTE,
            "datasets": [_dataset(store, name, target, (samples or {}).get(name, 0)) for name in datasets],
            "runs": [_run(store, name, target, name not in without_weights) for name in runs],
            "sweeps": [_sweep(store, name, target) for name in sweeps],
        }
        (target / INDEX_NAME).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
        (target / "media").mkdir()
        for sweep, episode_id in media:
            video = store.media_path(sweep, episode_id)
            for path in (video, video.with_suffix(".png")):
                shutil.copyfile(path, target / "media" / path.name)


def _dataset(store: Store, name: str, target: Path, sampled: int) -> dict[str, Any]:
    row = store.dataset(name)
    folder = _new_folder(target / "datasets", name)
    if sampled:
        columns = Columns.open(store.columns_folder(name))
        sample = sample_of(columns, evenly(columns.episodes, sampled, most_steps=columns.steps))
        fields = ("observations", "actions", "rewards", "final_observations")
        write_sample(folder / SAMPLE_NAME, sample, {field: _smallest(getattr(sample, field)) for field in fields})
    store.dataset_episodes(name).to_parquet(folder / EPISODES_NAME, index=False, compression="zstd")
    facts = row.facts.model_dump(mode="json") if row.facts else None
    return {
        "name": name,
        "source": dict(row.source),
        "facts": facts,
        "created": row.created,
        "size_bytes": row.size_bytes,
    }


def _run(store: Store, name: str, target: Path, weights: bool) -> dict[str, Any]:
    row = store.run(name)
    folder = target / "runs" / name.removeprefix(BUNDLE_PREFIX)
    left_out = _LEFT_OUT if weights else (*_LEFT_OUT, CHECKPOINT)
    shutil.copytree(store.run_folder(name), folder, ignore=shutil.ignore_patterns(*left_out))
    (folder / METRICS_NAME).write_text(
        json.dumps([[m.step, m.time_s, dict(m.values)] for m in store.metric_rows(name)])
    )
    histograms = [vars(histogram) for histogram in store.histograms(name)]
    (folder / HISTOGRAMS_NAME).write_text(json.dumps(histograms))
    return {
        "name": name,
        "spec": row.spec.model_dump(mode="json"),
        "facts": row.facts.model_dump(mode="json"),
        "step": row.step,
        "best_value": row.best_value,
        "created": row.created,
        "started": row.started,
        "finished": row.finished,
        "note": row.note,
        "tags": list(row.tags),
    }


def _sweep(store: Store, name: str, target: Path) -> dict[str, Any]:
    import pandas as pd

    row = store.sweep(name)
    source = store.sweep_folder(name)
    folder = _new_folder(target / "sweeps", name)
    shutil.copyfile(source / "spec.json", folder / "spec.json")
    episodes = store.sweep_episodes(name)
    episodes.to_parquet(folder / EPISODES_NAME, index=False, compression="zstd")
    (folder / STEPS_NAME).mkdir()
    index = pd.read_parquet(source / STEPS_NAME / STEP_INDEX_NAME)
    blocks = {
        block: np.load(source / STEPS_NAME / f"{block}.npy", allow_pickle=False) for block in index["block"].unique()
    }
    index, blocks = _without_most_beliefs(index, blocks, episodes)
    packed = {
        block: _smallest(array, lossy=block.startswith((*_BELIEFS, _PLANS)) and array.dtype.kind == "f")
        for block, array in blocks.items()
    }
    np.savez_compressed(folder / STEPS_NAME / PACKED_NAME, allow_pickle=False, **packed)
    index.to_parquet(folder / STEPS_NAME / STEP_INDEX_NAME, index=False, compression="zstd")
    return {"name": name, "kind": row.kind, "spec": row.spec.model_dump(mode="json"), "created": row.created}


def _without_most_beliefs(
    index: pd.DataFrame, blocks: dict[str, np.ndarray], episodes: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The index and blocks without what the module's docstring leaves out; blocks of which nothing is left are gone."""
    few = set(episodes.loc[episodes["episode"] < EPISODES_WITH_PROBABILITIES, "episode_id"])
    last = set(episodes.loc[in_last_point(episodes), "episode_id"])
    belief, plan = index["field"].str.startswith(_BELIEFS), index["field"].str.startswith(_PLANS)
    dropped = (belief & ~index["episode_id"].isin(few)) | (plan & ~index["episode_id"].isin(last))
    thinned = index.loc[dropped, "block"].unique()
    index = index[~dropped].copy()
    kept = {block: array for block, array in blocks.items() if block not in thinned}
    for block in index.loc[index["block"].isin(thinned), "block"].unique():
        rows = index[index["block"] == block]
        kept[block] = np.concatenate([blocks[block][row.start : row.stop] for row in rows.itertuples()])
        stops = (rows["stop"] - rows["start"]).cumsum()
        index.loc[rows.index, "start"] = stops - (rows["stop"] - rows["start"])
        index.loc[rows.index, "stop"] = stops
    return index.reset_index(drop=True), {block: kept[block] for block in blocks if block in kept}


def in_last_point(episodes: pd.DataFrame) -> pd.Series:
    """Which episodes belong to the point that a beam sweep measured last; none of another sweep."""
    if "width" not in episodes or not len(episodes):
        return episodes["episode"] < 0
    cell = ["run", "width", "horizon"]
    return (episodes[cell] == episodes[cell].iloc[-1]).all(axis=1)


def _smallest(array: np.ndarray, lossy: bool = False) -> np.ndarray:
    """The same values in the smallest type that holds them exactly; in half precision if ``lossy``."""
    if lossy:
        return array.astype(np.float16)
    for dtype in (np.uint8, np.int8, np.int16, np.float16, np.int32, np.float32):
        if np.dtype(dtype).itemsize >= array.dtype.itemsize:
            break
        with np.errstate(invalid="ignore", over="ignore"):
            smaller = array.astype(dtype)
        if np.array_equal(smaller.astype(array.dtype), array, equal_nan=array.dtype.kind == "f"):
            return smaller
    return array


def _new_folder(parent: Path, name: str) -> Path:
    folder = parent / name.removeprefix(BUNDLE_PREFIX)
    folder.mkdir(parents=True)
    return folder
