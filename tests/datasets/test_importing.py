"""Datasets that real libraries wrote come in unchanged; faulty ones are refused in one sentence and leave nothing."""

import json
import resource
import signal
import zipfile

import gymnasium
import h5py
import numpy as np
import pyarrow as pa
import pytest
from gymnasium import spaces

from seqrl.config import ImportSpec
from seqrl.datasets.importers import ImportRefused
from seqrl.datasets.importing import import_dataset, limited
from seqrl.store.columns import Columns
from tests.foreign_files import (
    ENDS,
    LENGTHS,
    episode_lists,
    step_table,
    steps,
    write_d4rl,
    write_huggingface,
    write_minari,
    write_npz,
    write_parquet,
)


def read(path, tmp_path, **settings):
    """The columns of an imported file."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    import_dataset(ImportSpec(name="x", path=str(path), **settings), tmp_path / "columns", scratch)
    assert not list(scratch.iterdir())
    return Columns.open(tmp_path / "columns")


def refusal(path, tmp_path, **settings):
    """The sentence of a refused file, of which nothing may be left."""
    with pytest.raises(ImportRefused) as refused:
        read(path, tmp_path, **settings)
    left = [item for item in tmp_path.iterdir() if "columns" in item.name]
    assert not left and not list((tmp_path / "scratch").iterdir())
    sentence = str(refused.value)
    assert sentence and "\n" not in sentence and len(sentence) < 400
    return sentence


def without(name):
    fields = steps()
    del fields[name]
    return fields


def check_steps(columns, fields, finals=None):
    """The columns hold the flat steps, cut into the three episodes."""
    count = sum(LENGTHS)
    assert columns.episodes["length"].tolist() == list(LENGTHS)
    np.testing.assert_array_equal(columns.observations[:count], fields["observations"])
    np.testing.assert_array_equal(columns.actions[:count], fields["actions"])
    np.testing.assert_array_equal(columns.rewards[:count], fields["rewards"])
    expected = fields["next_observations"][ENDS - 1] if finals is None else finals
    np.testing.assert_array_equal(columns.final_observations, expected)
    assert columns.episodes["terminated"].tolist() == [True, False, False]
    assert columns.episodes["truncated"].tolist() == [False, True, True]
    np.testing.assert_allclose(columns.facts.observation_mean, fields["observations"].mean(axis=0), atol=1e-6)


# --- files of the real libraries -------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [True, False])
def test_npz_of_numpy(tmp_path, compressed):
    check_steps(read(write_npz(tmp_path / "a.npz", compressed=compressed), tmp_path), steps())


@pytest.mark.parametrize(
    "settings", [{}, {"chunks": True, "compression": "gzip"}, {"chunks": True, "compression": "lzf"}]
)
def test_d4rl_of_h5py(tmp_path, settings):
    columns = read(write_d4rl(tmp_path / "a.hdf5", **settings), tmp_path)
    check_steps(columns, steps())
    assert columns.facts.environment is None and columns.facts.action.kind == "box"
    assert columns.facts.action.low == (-1.0, -1.0)  # all actions lie within


def test_without_next_observations_the_last_one_is_repeated(tmp_path):
    fields = without("next_observations")
    columns = read(write_d4rl(tmp_path / "a.hdf5", fields), tmp_path)
    check_steps(columns, fields, finals=fields["observations"][ENDS - 1])


@pytest.mark.parametrize("write", [write_d4rl, write_npz, write_parquet])
def test_dones_that_are_timeouts_too_were_cut_off(tmp_path, write):
    fields = steps()
    fields["dones"] = fields.pop("terminals") | fields["timeouts"]
    if write is write_parquet:  # one row an episode
        ends = {name: [part.tolist() for part in np.split(fields[name], ENDS[:-1])] for name in ("dones", "timeouts")}
        fields = pa.table(episode_lists() | ends)
    columns = read(write(tmp_path / "a.npz", fields), tmp_path)
    assert columns.episodes["terminated"].tolist() == [True, False, False]
    assert columns.episodes["truncated"].tolist() == [False, True, True]


def test_episode_terminals_of_d3rlpy_end_episodes_that_were_cut_off(tmp_path):
    fields = steps()
    fields["episode_terminals"] = (fields["terminals"] | fields.pop("timeouts")).astype(np.float32)
    fields |= {"terminals": fields["terminals"].astype(np.float32), "discrete_action": np.bool_(False)}
    check_steps(read(write_d4rl(tmp_path / "a.h5", fields), tmp_path), fields)


def test_without_timeouts_episodes_also_end_at_the_time_limit(tmp_path):
    count = 450
    fields = {
        "observations": np.zeros((count, 3), dtype=np.float32),
        "actions": np.zeros((count, 1), dtype=np.float32),
        "rewards": np.ones(count),
        "terminals": np.arange(count) == 99,
    }
    columns = read(write_d4rl(tmp_path / "a.hdf5", fields), tmp_path, environment="Pendulum-v1")
    assert columns.episodes["length"].tolist() == [100, 200, 150]
    assert columns.episodes["terminated"].tolist() == [True, False, False]
    assert columns.facts.max_episode_steps == 200 and columns.facts.action.low == (-2.0,)


def test_whole_numbers_are_discrete_actions(tmp_path):
    fields = steps(discrete=True)
    columns = read(write_npz(tmp_path / "a.npz", fields), tmp_path)
    check_steps(columns, fields)
    assert columns.facts.action.kind == "discrete" and columns.facts.action.categories == (3,)
    assert columns.actions.dtype == np.int64


@pytest.mark.parametrize("settings", [{}, {"row_group_size": 3}, {"compression": "zstd", "use_dictionary": False}])
def test_parquet_of_pyarrow_one_row_a_step(tmp_path, settings):
    table = step_table().append_column("terminated", pa.array(steps()["terminals"]))
    check_steps(read(write_parquet(tmp_path / "a.parquet", table, **settings), tmp_path), steps())


@pytest.mark.parametrize(("observation", "action"), [("observation", "action"), ("obs", "act"), ("states", "actions")])
def test_parquet_with_one_column_a_number(tmp_path, observation, action):
    fields = without("next_observations")
    columns = {f"{observation}_{i}": fields["observations"][:, i] for i in range(3)}
    columns |= {f"{action}_{i}": fields["actions"][:, i] for i in range(2)}
    table = pa.table(columns | {name: fields[name] for name in ("rewards", "terminals", "timeouts")})
    finals = fields["observations"][ENDS - 1]
    check_steps(read(write_parquet(tmp_path / "a.parquet", table), tmp_path), fields, finals=finals)


def test_parquet_with_one_row_an_episode(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", pa.table(episode_lists()))
    check_steps(read(path, tmp_path), steps(), finals=steps()["observations"][ENDS - 1])


@pytest.mark.parametrize("settings", [{}, {"num_shards": 2}])
def test_a_folder_of_hugging_face_datasets(tmp_path, settings):
    folder = write_huggingface(tmp_path / "hf", **settings)
    columns = read(folder, tmp_path)
    fields = steps() | {"observations": steps()["observations"].astype(np.float64)}
    check_steps(columns, steps(), finals=fields["observations"][ENDS - 1])


def test_a_dictionary_of_hugging_face_datasets_gives_its_training_part(tmp_path):
    import datasets

    parts = {"test": {"observations": [[[1.0]]], "actions": [[[1.0]]], "rewards": [[1.0]], "dones": [[True]]}}
    parts["train"] = episode_lists()
    dictionary = datasets.DatasetDict({name: datasets.Dataset.from_dict(values) for name, values in parts.items()})
    dictionary.save_to_disk(str(tmp_path / "hf"))
    assert read(tmp_path / "hf", tmp_path).episodes["length"].tolist() == list(LENGTHS)


class Sampled(gymnasium.Env):
    """Observations drawn from any space; episodes of three steps."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.action_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), float(self.steps), self.steps == 3, False, {}


SPACES = {
    "box": (spaces.Box(-1, 1, (3,)), spaces.Box(-2, 2, (2,))),
    "discrete": (spaces.Discrete(5, start=2), spaces.Discrete(3, start=1)),
    "multi-discrete": (spaces.MultiDiscrete([2, 3]), spaces.MultiDiscrete([2, 3])),
    "dictionary": (spaces.Dict(b=spaces.Box(0, 1, (2, 2)), a=spaces.Discrete(3)), spaces.MultiBinary(2)),
    "tuple": (spaces.Tuple([spaces.MultiBinary(3), spaces.Box(0, 9, (2,))]), spaces.Discrete(2)),
    "image": (spaces.Box(0, 255, (32, 33, 3), np.uint8), spaces.Discrete(2)),
}


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """Datasets of Minari's own collector, one a pair of spaces: the folder, and what was seen."""
    pytest.importorskip("jax")
    import minari

    root = tmp_path_factory.mktemp("minari")
    with pytest.MonkeyPatch.context() as patch, pytest.warns():
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        for name, pair in SPACES.items():
            env = minari.DataCollector(Sampled(*pair), jpeg_encoding=name != "image")
            for seed in range(2):
                env.reset(seed=seed)
                while not env.step(env.action_space.sample())[2]:
                    pass
            env.create_dataset(f"test/{name.replace('-', '')}-v0")
            env.close()
    return root / "test"


@pytest.mark.parametrize("kind", SPACES)
def test_minaris_own_collector(collected, tmp_path, kind):
    from minari.dataset.minari_storage import MinariStorage

    from seqrl.environments.spaces import encode_actions, encode_observations

    folder = collected / f"{kind.replace('-', '')}-v0"
    columns = read(folder, tmp_path)
    assert columns.episodes[["length", "terminated", "seed"]].values.tolist() == [[3, True, 0], [3, True, 1]]
    storage = MinariStorage.read(folder / "data")
    observation_space, action_space = SPACES[kind]
    for index, episode in enumerate(storage.get_episodes(range(2))):
        ours = columns.episode(index)
        np.testing.assert_array_equal(
            ours.observations, encode_observations(observation_space, episode["observations"])
        )
        np.testing.assert_array_equal(ours.actions, encode_actions(action_space, episode["actions"]))
        np.testing.assert_array_equal(ours.rewards, [1, 2, 3])


def test_minaris_environment_is_believed_only_if_seqrl_knows_it(tmp_path):
    folder = write_minari(tmp_path / "m")
    box = {"type": "Box", "dtype": "float32", "shape": [3], "low": [-1.0] * 3, "high": [1.0] * 3}
    metadata = {
        "observation_space": json.dumps(box),
        "action_space": json.dumps(box | {"shape": [2], "low": [-1.0] * 2, "high": [1.0] * 2}),
    }
    for entry, environment in (("Pendulum-v1", None), ("unheard/Of-v0", None)):
        metadata["env_spec"] = json.dumps({"id": entry, "entry_point": "os:system", "kwargs": {"command": "true"}})
        (folder / "data" / "metadata.json").write_text(json.dumps(metadata))
        assert read(folder, tmp_path).facts.environment is environment  # its action space has another size
    one = json.dumps(box | {"shape": [1], "low": [-2.0], "high": [2.0]})
    metadata |= {"action_space": one, "env_spec": json.dumps({"id": "Pendulum-v1"})}
    (folder / "data" / "metadata.json").write_text(json.dumps(metadata))
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        for group in file.values():
            actions = group["actions"][:, :1]
            del group["actions"]
            group["actions"] = actions
    assert read(folder, tmp_path).facts.environment == "Pendulum-v1"


def test_a_minari_file_alone_is_enough(tmp_path):
    columns = read(write_minari(tmp_path / "m") / "data" / "main_data.hdf5", tmp_path)
    check_steps(columns, steps())
    assert columns.episodes["seed"].tolist() == [0, 1, 2]


def test_a_zipped_folder_is_unpacked_and_removed(tmp_path):
    import shutil

    write_huggingface(tmp_path / "hf")
    archive = shutil.make_archive(str(tmp_path / "upload"), "zip", tmp_path / "hf")
    assert read(archive, tmp_path).episodes["length"].tolist() == list(LENGTHS)


def test_what_macos_adds_to_an_archive_is_left_out(tmp_path):
    folder = write_huggingface(tmp_path / "hf")
    with zipfile.ZipFile(tmp_path / "upload.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"hf/{path.name}")
            archive.writestr(f"__MACOSX/hf/._{path.name}", b"\0\5\x16\7")
        for name in (".DS_Store", "hf/.DS_Store", "hf/._dataset_info.json"):
            archive.writestr(name, b"\0\0\0\1Bud1")
    assert read(tmp_path / "upload.zip", tmp_path).episodes["length"].tolist() == list(LENGTHS)


def test_an_archive_without_a_dataset_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "upload.zip", "w") as archive:
        for name in ("notes.txt", "more.txt"):
            archive.writestr(name, "no data")
    assert refusal(tmp_path / "upload.zip", tmp_path).startswith("upload.zip is no dataset folder")


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_zipped_minari_dataset_may_be_wrapped_in_folders(tmp_path, depth):
    import shutil

    write_minari(tmp_path.joinpath("packed", *["wrapped"] * depth))
    archive = shutil.make_archive(str(tmp_path / "upload"), "zip", tmp_path / "packed")
    check_steps(read(archive, tmp_path), steps())


# --- faulty files ----------------------------------------------------------------------------------


def changed(name, change):
    """Flat steps with one field changed."""
    fields = steps()
    fields[name] = change(fields[name])
    return fields


def with_value(array, row, value):
    array = np.array(array, dtype=np.result_type(array, np.float64))
    array[row] = value
    return array


FLAT_FAULTS = {
    "NaN": (
        lambda: changed("observations", lambda x: with_value(x, 6, np.nan)),
        "episode 1: observations holds NaN at step 2",
    ),
    "infinite reward": (
        lambda: changed("rewards", lambda x: with_value(x, 0, np.inf)),
        "episode 0: rewards holds an infinity at step 0",
    ),
    "too large": (
        lambda: changed("observations", lambda x: with_value(x, 5, 1e300)),
        "episode 1: observations holds 1e+300",
    ),
    "text": (lambda: changed("actions", lambda x: x.astype("S8")), "actions has values of type"),
    "complex": (lambda: changed("rewards", lambda x: x + 1j), "rewards has values of type complex128"),
    "wrong length": (lambda: changed("actions", lambda x: x[:-1]), "actions has 15 rows but rewards has 16"),
    "wrong shape": (
        lambda: changed("rewards", lambda x: np.stack([x, x], axis=1)),
        "episode 0: rewards has shape (4, 2)",
    ),
    "empty": (lambda: {name: values[:0] for name, values in steps().items()}, "rewards is empty"),
    "no actions": (lambda: without("actions"), "actions is missing"),
    "no ends": (
        lambda: {name: steps()[name] for name in ("observations", "actions", "rewards")},
        "nothing says where episodes end",
    ),
    "mislabelled ends": (lambda: changed("terminals", lambda x: x * 7), "terminals holds 7"),
    "mislabelled next": (
        lambda: changed("next_observations", lambda x: x[:, :2]),
        "episode 0: next_observations has shape",
    ),
    "negative actions": (lambda: changed("actions", lambda x: np.arange(len(x)) - 1), "actions holds -1"),
}


@pytest.mark.parametrize("fault", FLAT_FAULTS)
@pytest.mark.parametrize("write", [write_d4rl, write_npz], ids=["d4rl", "npz"])
def test_faulty_steps_are_refused_with_field_and_episode(tmp_path, write, fault):
    make, expected = FLAT_FAULTS[fault]
    path = write(tmp_path / f"a.{'npz' if write is write_npz else 'hdf5'}", make())
    assert expected in refusal(path, tmp_path)


EPISODE_FAULTS = {
    "NaN": (
        "observations",
        1,
        lambda x: [*x[:-1], [1.0, float("nan"), 1.0]],
        "episode 1: observations holds NaN at step 6",
    ),
    "ragged": ("observations", 2, lambda x: [*x[:-1], [1.0]], "episode 2: observations has 1 numbers at step 4 but 3"),
    "missing value": ("rewards", 0, lambda x: [None, *x[1:]], "episode 0: rewards has a missing value"),
    "wrong length": ("actions", 1, lambda x: x[:-1], "episode 1: actions has 6 rows but there are 7 rewards"),
    "early end": ("dones", 2, lambda x: [True, *x[1:]], "episode 2: dones is set at step 0"),
    "empty": ("rewards", 1, lambda x: [], "episode 1:"),
}


@pytest.mark.parametrize("fault", EPISODE_FAULTS)
@pytest.mark.parametrize("kind", ["hf", "parquet"])
def test_faulty_episodes_are_refused_with_field_and_episode(tmp_path, kind, fault):
    field, episode, change, expected = EPISODE_FAULTS[fault]
    lists = episode_lists()
    lists[field][episode] = change(lists[field][episode])
    if kind == "hf":
        path = write_huggingface(tmp_path / "hf", lists)
    else:
        path = write_parquet(tmp_path / "a.parquet", pa.table(lists))
    assert expected in refusal(path, tmp_path)


def harmed(change):
    """Harm the HDF5 file of a Minari dataset."""

    def harm(folder):
        with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
            change(file)

    return harm


def replace(group, name, values):
    del group[name]
    group[name] = values


MINARI_FAULTS = {
    "gap": (harmed(lambda file: file.move("episode_1", "episode_7")), "episode_1 is missing"),
    "no rewards": (harmed(lambda file: file["episode_2"].pop("rewards")), "episode 2: rewards is missing"),
    "one observation short": (
        harmed(lambda file: replace(file["episode_1"], "observations", np.zeros((7, 3)))),
        "episode 1: observations has 7 rows but there are 7 rewards",
    ),
    "other width": (
        harmed(lambda file: replace(file["episode_1"], "observations", np.zeros((8, 4)))),
        "episode 1: observations has 4 numbers a step",
    ),
    "a group": (harmed(lambda file: replace(file["episode_0"], "rewards", np.zeros((4, 3)))), "episode 0: rewards"),
    "early end": (
        harmed(lambda file: replace(file["episode_1"], "terminations", np.arange(7) == 2)),
        "episode 1: terminations is set at step 2",
    ),
    "soft link": (
        harmed(lambda file: replace(file["episode_1"], "rewards", h5py.SoftLink("/episode_0/rewards"))),
        "'rewards' as a soft link",
    ),
    "external link": (
        harmed(lambda file: replace(file["episode_1"], "rewards", h5py.ExternalLink("/etc/passwd", "/x"))),
        "'rewards' as an external link",
    ),
}


@pytest.mark.parametrize("fault", MINARI_FAULTS)
def test_faulty_minari_datasets_are_refused(tmp_path, fault):
    harm, expected = MINARI_FAULTS[fault]
    folder = write_minari(tmp_path / "m")
    harm(folder)
    assert expected in refusal(folder, tmp_path)


def test_unsorted_rows_are_refused(tmp_path):
    order = np.random.default_rng(0).permutation(sum(LENGTHS))
    path = write_parquet(tmp_path / "a.parquet", step_table().take(pa.array(order)))
    assert "its rows are not together; sort the file by episode" in refusal(path, tmp_path)


def test_an_environment_of_another_kind_is_refused(tmp_path):
    path = write_d4rl(tmp_path / "a.hdf5")
    assert "observations has 3 numbers a step but the environment's have 4" in refusal(
        path, tmp_path, environment="CartPole-v1"
    )
    with pytest.raises(ValueError, match="Nowhere-v0"):
        read(path, tmp_path, environment="Nowhere-v0")


def test_an_older_dataset_survives_a_refused_import(tmp_path):
    before = read(write_npz(tmp_path / "a.npz"), tmp_path).facts
    write_npz(tmp_path / "a.npz", changed("rewards", lambda x: with_value(x, 15, np.nan)))
    with pytest.raises(ImportRefused):
        read(tmp_path / "a.npz", tmp_path)
    assert Columns.open(tmp_path / "columns").facts == before


def test_limits_on_memory_and_processor_time_hold_and_are_lifted():
    before = resource.getrlimit(resource.RLIMIT_DATA), resource.getrlimit(resource.RLIMIT_CPU)
    with limited(0), pytest.raises(MemoryError):
        np.ones(3 * 2**30, dtype=np.uint8)
    with limited(0), pytest.raises(ImportRefused, match="processor time"):
        signal.raise_signal(signal.SIGXCPU)
    assert (resource.getrlimit(resource.RLIMIT_DATA), resource.getrlimit(resource.RLIMIT_CPU)) == before
