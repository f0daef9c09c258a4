"""What goes out comes in again as it was."""

import json
from dataclasses import replace

import gymnasium
import numpy as np
import pandas as pd
import pytest

from seqrl.config import BehaviourSpec, DatasetSpec, ImportSpec
from seqrl.datasets import build
from seqrl.datasets.exporting import export_minari, export_parquet
from seqrl.datasets.importing import import_dataset
from seqrl.registry import ENVIRONMENTS
from seqrl.store.columns import Columns
from tests.foreign_files import steps, write_d4rl, write_npz
from tests.tiny_environments import ACTIONS


@pytest.fixture(params=["collected", "discrete", "boxes"])
def columns(request, tmp_path):
    """A dataset of CartPole with two tiers, or one without an environment."""
    folder = tmp_path / "original"
    if request.param == "collected":
        behaviours = (BehaviourSpec(tier="poor", share=0.5, epsilon=0.7), BehaviourSpec(tier="good", share=0.5))
        build(DatasetSpec(name="d", episodes=6, behaviours=behaviours, max_episode_steps=30), folder)
    else:
        discrete = request.param == "discrete"
        write = write_npz if discrete else write_d4rl
        path = write(tmp_path / "a.npz", steps(discrete=discrete))
        import_dataset(ImportSpec(name="d", path=str(path)), folder, tmp_path)
    return Columns.open(folder)


def check_equal(columns, path, tmp_path):
    """Every column, every episode and all facts are those of the original."""
    folder = tmp_path / "again"
    import_dataset(ImportSpec(name="d", path=str(path)), folder, tmp_path)
    again = Columns.open(folder)
    for name in ("observations", "actions", "rewards", "final_observations"):
        ours, theirs = getattr(columns, name), getattr(again, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert again.episodes.equals(columns.episodes)
    assert again.facts.content_hash == columns.facts.content_hash
    assert again.facts.returns_by_tier == columns.facts.returns_by_tier
    return again.facts


def test_parquet_gives_back_equal_columns_and_facts(columns, tmp_path):
    facts = check_equal(columns, export_parquet(columns, tmp_path / "out.parquet"), tmp_path)
    # the time limit is not part of the file: it is that of the environment
    assert facts.model_copy(update={"max_episode_steps": columns.facts.max_episode_steps}) == columns.facts


@pytest.mark.parametrize("environment", [f"tiny/Box{action}-v0" for action in ACTIONS])
def test_the_actions_of_an_export_are_counted_from_0_whatever_the_environment_does(environment, tmp_path):
    behaviours = (BehaviourSpec(policy="random"),)
    build(DatasetSpec(name="d", environment=environment, episodes=4, behaviours=behaviours), tmp_path / "original")
    original = Columns.open(tmp_path / "original")
    path = export_parquet(original, tmp_path / "out.parquet")
    import_dataset(ImportSpec(name="d", path=str(path), environment=environment), tmp_path / "again", tmp_path)
    again = Columns.open(tmp_path / "again")
    np.testing.assert_array_equal(again.actions, original.actions)
    assert again.facts.action == original.facts.action


def test_parquet_that_pandas_wrote_again_is_still_read(columns, tmp_path):
    """Pandas makes NaN a missing value, and drops the spaces."""
    frame = pd.read_parquet(export_parquet(columns, tmp_path / "out.parquet"))
    frame["policy"] = None
    frame.loc[0:1, "seed"] = None  # of the first episode
    frame.astype({"seed": "Int64"}).to_parquet(tmp_path / "again.parquet")
    import_dataset(ImportSpec(name="d", path=str(tmp_path / "again.parquet")), tmp_path / "again", tmp_path)
    again = Columns.open(tmp_path / "again").episodes
    kept = ["length", "achieved_return", "terminated", "truncated", "tier", "epsilon", "noise_std"]
    pd.testing.assert_frame_equal(again[kept], columns.episodes[kept])
    assert again["seed"].tolist() == [-1, *columns.episodes["seed"][1:]]
    assert set(again["policy"]) == {"unknown"}


def test_minari_gives_back_equal_columns(columns, tmp_path):
    check_equal(columns, export_minari(columns, tmp_path / "seqrl" / "d-v0", "seqrl/d-v0"), tmp_path)


@pytest.fixture
def lake(tmp_path):
    """A dataset of Frozen Lake without its slippery ice."""
    settings = {"environment": "FrozenLake-v1", "environment_kwargs": {"is_slippery": False}}
    build(DatasetSpec(name="d", episodes=3, **settings), tmp_path / "original")
    return Columns.open(tmp_path / "original")


@pytest.mark.parametrize("environment", ["auto", "FrozenLake-v1"])
@pytest.mark.parametrize("form", ["minari", "parquet"])
def test_settings_of_the_environment_come_in_again(lake, tmp_path, environment, form):
    path = tmp_path / "out-v0"
    export_parquet(lake, path) if form == "parquet" else export_minari(lake, path, "seqrl/d-v0")
    facts = import_dataset(ImportSpec(name="d", path=str(path), environment=environment), tmp_path / "again", tmp_path)
    assert facts == lake.facts


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        ({"is_slippery": False, "map_name": "4x4", "render_mode": "rgb_array"}, {"is_slippery": False}),
        ({"map_name": "4x4", "desc": None}, {}),
        ({"map_name": None}, None),
        ({"map_name": "/etc/passwd"}, None),
        ({"desc": ["SG"]}, None),
        ({"is_slippery": float("nan")}, None),
        ({"map_name": 4}, None),
        ({"unheard_of": 1}, None),
        (["is_slippery"], None),
    ],
)
def test_settings_that_a_file_names_are_believed_if_they_are_numbers(lake, tmp_path, told, believed):
    metadata = export_minari(lake, tmp_path / "out-v0", "seqrl/d-v0") / "data" / "metadata.json"
    values = json.loads(metadata.read_text())
    values["env_spec"] = json.dumps(json.loads(values["env_spec"]) | {"kwargs": told})
    metadata.write_text(json.dumps(values))
    said = []
    spec = ImportSpec(name="d", path=str(tmp_path / "out-v0"))
    facts = import_dataset(spec, tmp_path / "again", tmp_path, say=said.append)
    assert facts.environment == (None if believed is None else "FrozenLake-v1")
    assert facts.environment_kwargs == (believed or {})
    assert bool(said) == (believed is None and isinstance(told, dict))


def test_a_file_that_says_nothing_was_played_with_the_settings_of_the_registry(lake, tmp_path, monkeypatch):
    row = replace(ENVIRONMENTS["FrozenLake-v1"], kwargs={"is_slippery": False})
    monkeypatch.setitem(ENVIRONMENTS, "FrozenLake-v1", row)
    steps = lake.steps
    ends = lake.episodes["end"].to_numpy() - 1
    write_npz(
        tmp_path / "a.npz",
        {
            "observations": lake.observations[:steps],
            "actions": lake.actions[:steps],
            "rewards": lake.rewards[:steps],
            "dones": np.isin(np.arange(steps), ends),
        },
    )
    spec = ImportSpec(name="d", path=str(tmp_path / "a.npz"), environment="FrozenLake-v1")
    assert import_dataset(spec, tmp_path / "again", tmp_path).environment_kwargs == {"is_slippery": False}


def test_minaris_own_loader_reads_the_export(columns, tmp_path, monkeypatch):
    import minari

    export_minari(columns, tmp_path / "seqrl" / "d-v0", "seqrl/d-v0")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = minari.load_dataset("seqrl/d-v0")
    assert dataset.total_episodes == len(columns.episodes) and dataset.total_steps == columns.steps
    first, ours = dataset[0], columns.episode(0)
    flat = gymnasium.spaces.flatten(dataset.observation_space, first.observations[0])
    np.testing.assert_array_equal(flat, ours.observations[0])
    np.testing.assert_array_equal(first.actions, ours.actions)


def test_an_existing_file_is_not_replaced(columns, tmp_path):
    (tmp_path / "out.parquet").write_text("mine")
    with pytest.raises(FileExistsError):
        export_parquet(columns, tmp_path / "out.parquet")
    assert (tmp_path / "out.parquet").read_text() == "mine"


def test_a_failed_export_leaves_nothing(columns, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        export_parquet(columns, tmp_path / "out.parquet", on_progress=_interrupt)
    assert sorted(tmp_path.iterdir()) == before


def _interrupt(fraction, message):
    raise KeyboardInterrupt
