"""Files that are unusual, made by the real libraries: each comes in right, or is refused in one sentence."""

import json
import shutil

import h5py
import numpy as np
import pyarrow as pa
import pytest
from gymnasium import spaces

from tests.datasets.test_importing import SPACES, Sampled, read, refusal
from tests.foreign_files import (
    ENDS,
    LENGTHS,
    episode_lists,
    step_table,
    steps,
    write_d4rl,
    write_huggingface,
    write_minari_arrow,
    write_npz,
    write_parquet,
)

STEPS = sum(LENGTHS)
ROWS = np.arange(STEPS)


def with_fields(**changes):
    """Flat steps with some fields changed; None leaves one out."""
    return {name: values for name, values in (steps() | changes).items() if values is not None}


# --- flat files: what is unusual but clear ---------------------------------------------------------

UNUSUAL = {
    "whole observations": ({"observations": np.arange(STEPS * 3, dtype=np.int16).reshape(-1, 3)}, (3,), LENGTHS),
    "double precision": ({"observations": np.arange(STEPS * 3, dtype=np.float64).reshape(-1, 3)}, (3,), LENGTHS),
    "half precision": ({"observations": np.arange(STEPS * 3, dtype=np.float16).reshape(-1, 3)}, (3,), LENGTHS),
    "big endian": ({"observations": np.arange(STEPS * 3, dtype=">f4").reshape(-1, 3)}, (3,), LENGTHS),
    "one number a step": ({"observations": ROWS.astype(np.float32), "next_observations": None}, (1,), LENGTHS),
    "matrices": ({"observations": np.zeros((STEPS, 4, 5)), "next_observations": None}, (20,), LENGTHS),
    "small pictures": (
        {"observations": np.zeros((STEPS, 8, 8, 3), np.uint8), "next_observations": None},
        (8, 8, 3),
        LENGTHS,
    ),
    "no end at the last step": ({"timeouts": None, "terminals": ROWS == 3}, (3,), (4, 12)),
    "one episode": ({"timeouts": np.zeros(STEPS, bool), "terminals": ROWS == STEPS - 1}, (3,), (STEPS,)),
    "ends as fractions": ({"terminals": steps()["terminals"].astype(np.float64)}, (3,), LENGTHS),
    "ends in a column": ({"terminals": steps()["terminals"][:, None]}, (3,), LENGTHS),
    "both ends at once": ({"timeouts": steps()["timeouts"] | steps()["terminals"]}, (3,), LENGTHS),
    "rewards in a column": ({"rewards": steps()["rewards"][:, None]}, (3,), LENGTHS),
    "further arrays": ({"qpos": np.zeros((3, 2)), "größe": np.zeros(7)}, (3,), LENGTHS),
    "NaN that nobody reads": (
        {"next_observations": np.where(ROWS[:, None] == 1, np.nan, steps()["next_observations"])},
        (3,),
        LENGTHS,
    ),
}


@pytest.mark.parametrize("kind", UNUSUAL)
@pytest.mark.parametrize("write", [write_d4rl, write_npz], ids=["d4rl", "npz"])
def test_unusual_steps_come_in_right(tmp_path, write, kind):
    changes, shape, lengths = UNUSUAL[kind]
    fields = with_fields(**changes)
    columns = read(write(tmp_path / "Überfluß 数据.npz", fields), tmp_path)
    assert columns.facts.observation.shape == shape
    assert columns.episodes["length"].tolist() == list(lengths)
    expected = np.asarray(fields["observations"]).reshape(STEPS, *shape)
    np.testing.assert_array_equal(columns.observations[:STEPS], expected.astype(columns.observations.dtype))
    np.testing.assert_array_equal(columns.rewards[:STEPS], steps()["rewards"])


def test_true_and_false_are_two_actions(tmp_path):
    columns = read(write_npz(tmp_path / "a.npz", with_fields(actions=ROWS % 2 == 0)), tmp_path)
    assert columns.facts.action.categories == (2,)
    np.testing.assert_array_equal(columns.actions[:STEPS], (ROWS % 2 == 0).astype(int))


# --- flat files: what cannot be --------------------------------------------------------------------

IMPOSSIBLE = {
    "huge whole actions": ({"actions": np.full(STEPS, 2**63, dtype=np.uint64)}, "episode 0: actions holds 9.22"),
    "one observation more": (
        {"observations": np.zeros((STEPS + 1, 3)), "next_observations": None},
        f"observations has {STEPS + 1} rows but rewards has {STEPS}",
    ),
    "no width": (
        {"observations": np.zeros((STEPS, 0)), "next_observations": None},
        "episode 0: observations has shape (5, 0)",
    ),
    "an infinite end": (
        {"next_observations": np.where(ROWS[:, None] == 3, -np.inf, steps()["next_observations"])},
        "episode 0: next_observations holds a number that is not finite at the last step",
    ),
    "NaN among the ends": ({"terminals": np.where(ROWS == 2, np.nan, 0.0)}, "terminals holds nan at row 2"),
    "two ends a step": ({"terminals": np.zeros((STEPS, 2))}, "terminals has shape (2,)"),
    "a single reward": ({"rewards": np.float32(3)}, "rewards is a single number"),
}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
@pytest.mark.parametrize("write", [write_d4rl, write_npz], ids=["d4rl", "npz"])
def test_impossible_steps_are_refused(tmp_path, write, kind):
    changes, expected = IMPOSSIBLE[kind]
    assert expected in refusal(write(tmp_path / "a.npz", with_fields(**changes)), tmp_path)


def test_numpys_own_types_of_time_and_structure_are_refused(tmp_path):
    for name, values in (("rewards", ROWS.astype("datetime64[s]")), ("actions", np.zeros(STEPS, [("a", "f4")]))):
        assert f"{name} has values of type" in refusal(
            write_npz(tmp_path / "a.npz", with_fields(**{name: values})), tmp_path
        )


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (write_npz, "a.npz is an archive that is cut short"),
        (write_d4rl, "a.npz is damaged, cut short or of another format"),
        (write_parquet, "a.npz is damaged, cut short or of another format"),
    ],
)
def test_half_a_file_is_refused(tmp_path, write, expected):
    path = write(tmp_path / "a.npz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refusal(path, tmp_path).startswith(expected)


def test_a_wrong_ending_is_looked_through_and_a_wrong_format_refused(tmp_path):
    path = shutil.copy(write_d4rl(tmp_path / "a.hdf5"), tmp_path / "a.npz")
    assert read(path, tmp_path).episodes["length"].tolist() == list(LENGTHS)
    shutil.rmtree(tmp_path / "columns")
    assert "File is not a zip file" in refusal(path, tmp_path, format="npz")
    (tmp_path / "a.csv").write_text("observations,actions\n1,2\n")
    assert "is none of HDF5, NPZ and Parquet" in refusal(tmp_path / "a.csv", tmp_path)


def test_groups_where_arrays_should_be_are_named(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for name, values in steps().items():
            file[f"data/{name}"] = values
    assert (
        "observations is missing" in (told := refusal(tmp_path / "a.hdf5", tmp_path)) and "(the file has data)" in told
    )
    with h5py.File(write_d4rl(tmp_path / "b.hdf5"), "r+") as file:
        del file["observations"]
        file["observations/position"] = steps()["observations"]
    assert "observations is a group; an array is needed" in refusal(tmp_path / "b.hdf5", tmp_path)


def test_an_enormous_hole_is_refused_before_it_is_read(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("observations", (5_000_000, 300_000), "f4", chunks=(1, 300_000))
        file.create_dataset("actions", (5_000_000, 2), "f4", chunks=True)
        for name in ("rewards", "terminals"):
            file.create_dataset(name, (5_000_000,), "f4", chunks=True)
    assert "observations expands from 0 to 6,000,000,000,000 bytes" in refusal(tmp_path / "a.hdf5", tmp_path)


# --- Parquet ---------------------------------------------------------------------------------------


def set_column(name, values):
    table = step_table()
    return table.set_column(table.schema.names.index(name), name, pa.array(values))


def test_episodes_may_be_named_by_text_and_in_any_order(tmp_path):
    for names in (["ép0", "数", "c"], [9, 5, 7]):
        path = write_parquet(tmp_path / "a.parquet", set_column("episode", np.repeat(names, LENGTHS)))
        assert read(path, tmp_path).episodes["length"].tolist() == list(LENGTHS)


ODD_TABLES = {
    "ragged": (
        lambda: set_column("observations", [[1.0, 2.0, 3.0]] * 15 + [[1.0, 2.0]]),
        "observations has 2 numbers at row 15 but 3 before",
    ),
    "ragged, but of the right number in all": (
        lambda: set_column("observations", [[1.0, 2.0, 3.0]] * 14 + [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0]]),
        "observations has 2 numbers at row 14 but 3 before",
    ),
    "a missing step": (
        lambda: set_column("observations", [[1.0, 2.0]] * 3 + [None] + [[1.0, 2.0]] * 12),
        "observations has a missing value at row 3",
    ),
    "no episode at one row": (lambda: set_column("episode", [None] + [0] * 15), "episode has a missing value at row 0"),
    "an episode that is no number": (
        lambda: set_column("episode", [float("nan")] + [0.0] * 15),
        "episode has no value at row 0",
    ),
    "money": (
        lambda: set_column("rewards", pa.array([1] * STEPS).cast(pa.decimal128(30, 2))),
        "rewards has values of type decimal128(30, 2)",
    ),
    "records": (lambda: set_column("observations", [{"a": 1.0}] * STEPS), "observations has values of type struct"),
    "a column twice": (
        lambda: pa.Table.from_arrays([*step_table().columns, pa.array(ROWS)], [*step_table().schema.names, "rewards"]),
        "has two columns named rewards",
    ),
}


@pytest.mark.parametrize("kind", ODD_TABLES)
def test_odd_tables_are_refused_with_their_row(tmp_path, kind):
    make, expected = ODD_TABLES[kind]
    assert expected in refusal(write_parquet(tmp_path / "a.parquet", make()), tmp_path)


# --- one number or a picture a step ----------------------------------------------------------------


@pytest.mark.parametrize("column", [False, True])
def test_states_of_a_discrete_space_may_stand_in_a_column(tmp_path, column):
    states = ROWS[:, None] if column else ROWS
    fields = with_fields(observations=states, actions=ROWS % 4, next_observations=None)
    columns = read(write_npz(tmp_path / "a.npz", fields), tmp_path, environment="FrozenLake-v1")
    np.testing.assert_array_equal(columns.observations[:STEPS], np.eye(16)[ROWS])


@pytest.mark.parametrize("shape", [(), (3,), (8, 8, 3)])
@pytest.mark.parametrize("rows", ["episodes", "steps"])
def test_last_observations_of_any_shape(tmp_path, shape, rows):
    generator = np.random.default_rng(0)
    observations = generator.integers(0, 255, (STEPS, *shape), dtype=np.uint8)
    finals = generator.integers(0, 255, (len(LENGTHS), *(shape or (1,))), dtype=np.uint8)
    if rows == "episodes":
        split = np.split(observations, ENDS[:-1])
        changes = {"observations": nested(split, len(shape) + 2), "final_observations": nested(finals, finals.ndim)}
        table = pa.table(episode_lists() | changes)
    else:
        last = [None] * STEPS
        for end, final in zip(ENDS, finals, strict=True):
            last[end - 1] = final
        table = step_table(with_fields(next_observations=None, observations=None))
        table = table.append_column("observations", nested(observations, len(shape) + 1))
        table = table.append_column("final_observations", nested(last, finals.ndim))
    columns = read(write_parquet(tmp_path / "a.parquet", table), tmp_path)
    np.testing.assert_array_equal(columns.final_observations.ravel(), finals.ravel())


def nested(rows, dimensions):
    """A column of bytes in so many dimensions, some rows of which may be missing."""
    kind = pa.uint8()
    for _ in range(dimensions - 1):
        kind = pa.list_(kind)
    return pa.array([row if row is None else row.tolist() for row in rows], kind)


# --- Hugging Face ----------------------------------------------------------------------------------


def test_odd_folders_of_hugging_face(tmp_path):
    lists = episode_lists() | {"инфо": ["a", "b", "c"], "dones": [[False] * length for length in LENGTHS]}
    columns = read(write_huggingface(tmp_path / "hf", lists), tmp_path)
    assert columns.episodes["truncated"].all() and columns.episodes["length"].tolist() == list(LENGTHS)
    lists = episode_lists() | {"observations": [[[1, 2]] * (length + 1) for length in LENGTHS]}
    columns = read(write_huggingface(tmp_path / "more", lists), tmp_path)
    assert columns.final_observations.tolist() == [[1, 2]] * 3


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lists: {name: [rows[0], [], rows[2]] for name, rows in lists.items()}, "episode 1: rewards is empty"),
        (
            lambda lists: lists | {"observations": [[[1.0] * (2 + i)] * n for i, n in enumerate(LENGTHS)]},
            "episode 1: observations has 3 numbers a step but the others have 2",
        ),
        (
            lambda lists: lists | {"actions": [["up"] * n for n in LENGTHS]},
            "episode 0: actions has values of type string",
        ),
        (
            lambda lists: {name: [step for rows in lists[name] for step in rows] for name in lists if name != "dones"},
            "nothing says where episodes end",
        ),
        (
            lambda lists: lists | {"dones": [True, False, True]},
            "episode 0: dones is of type bool; give a list with one entry a step",
        ),
    ],
    ids=["no steps", "widths", "text", "steps without ends", "one flag an episode"],
)
def test_odd_columns_of_hugging_face_are_refused(tmp_path, change, expected):
    assert expected in refusal(write_huggingface(tmp_path / "hf", change(episode_lists())), tmp_path)


@pytest.mark.parametrize("settings", [{}, {"num_shards": 3}])
def test_a_folder_of_hugging_face_with_one_row_a_step(tmp_path, settings):
    fields = steps()
    lists = {name: fields[name].tolist() for name in ("observations", "actions", "rewards")}
    lists |= {"episode_index": np.repeat([7, 3, 5], LENGTHS).tolist(), "task": ["walk"] * STEPS}
    columns = read(write_huggingface(tmp_path / "hf", lists, **settings), tmp_path)
    assert columns.episodes["length"].tolist() == list(LENGTHS) and columns.episodes["truncated"].all()
    np.testing.assert_array_equal(columns.observations[: columns.steps], fields["observations"])
    np.testing.assert_array_equal(columns.actions[: columns.steps], fields["actions"])


def test_columns_of_episodes_that_nobody_reads_are_left_alone(tmp_path):
    lists = episode_lists() | {"traj_id": [5, 9, 2], "infos": [{"a": 1}] * 3}
    for path in (write_huggingface(tmp_path / "hf", lists), write_parquet(tmp_path / "a.parquet", pa.table(lists))):
        assert read(path, tmp_path).episodes["length"].tolist() == list(LENGTHS)


def test_files_of_one_folder_have_the_same_columns(tmp_path):
    first, second = (
        write_huggingface(tmp_path / name, episode_lists() | more)
        for name, more in (("a", {}), ("b", {"note": [1] * 3}))
    )
    shutil.copy(next(second.glob("*.arrow")), first / "other.arrow")
    state = json.loads((first / "state.json").read_text())
    state["_data_files"].append({"filename": "other.arrow"})
    (first / "state.json").write_text(json.dumps(state))
    assert "other.arrow has other columns than data-00000-of-00001.arrow" in refusal(first, tmp_path)


def test_a_folder_of_hugging_face_without_its_data(tmp_path):
    folder = write_huggingface(tmp_path / "hf")
    data = next(folder.glob("*.arrow"))
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    assert "hf is damaged, cut short" in refusal(folder, tmp_path)
    data.unlink()
    assert f"{data.name} is not a file" in refusal(folder, tmp_path)
    (folder / "state.json").write_text("{")
    assert "state.json is damaged" in refusal(folder, tmp_path)


# --- Minari's Arrow and Parquet --------------------------------------------------------------------


class Endless(Sampled):
    """Never says that an episode is over; its rewards may be anything."""

    reward = 1.0

    def step(self, action):
        return self.observation_space.sample(), self.reward, False, False, {}


def collect(root, env, name, episodes=2, length=3, **settings):
    """A dataset of Minari's own collector."""
    import minari

    with pytest.MonkeyPatch.context() as patch, pytest.warns():
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        collector = minari.DataCollector(env, **settings)
        for seed in range(episodes):
            collector.reset(seed=seed)
            for _ in range(length):
                collector.step(collector.action_space.sample())
        collector.create_dataset(f"test/{name}-v0")
        collector.close()
    return root / "test" / f"{name}-v0"


@pytest.mark.parametrize("form", ["arrow", "parquet"])
@pytest.mark.parametrize("kind", SPACES)
def test_minaris_other_formats_hold_what_minari_reads(tmp_path, form, kind):
    from minari.dataset.minari_storage import MinariStorage

    from seqrl.environments.spaces import encode_actions, encode_observations

    env = Sampled(*SPACES[kind])
    folder = collect(tmp_path, env, "odd", data_format=form, jpeg_encoding=kind != "image")
    columns = read(folder, tmp_path)
    assert columns.episodes[["length", "terminated", "seed"]].values.tolist() == [[3, True, 0], [3, True, 1]]
    for index, episode in enumerate(MinariStorage.read(folder / "data").get_episodes(range(2))):
        ours = columns.episode(index)
        expected = encode_observations(env.observation_space, episode["observations"])
        np.testing.assert_array_equal(ours.observations, expected)
        np.testing.assert_array_equal(ours.actions, encode_actions(env.action_space, episode["actions"]))
        np.testing.assert_array_equal(ours.rewards, [1, 2, 3])


def test_frames_that_minari_keeps_as_jpeg_are_decoded(tmp_path):
    env = Sampled(*SPACES["image"])
    folders = [collect(tmp_path, env, form, data_format=form) for form in ("hdf5", "arrow")]
    first, second = (np.array(read(folder, tmp_path).observations[:6]) for folder in folders)
    assert first.shape == (6, 32, 33, 3) and first.std() > 10
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("form", ["hdf5", "arrow"])
def test_what_minari_leaves_open_is_cut_off_and_what_is_no_number_refused(tmp_path, form):
    env = Endless(spaces.Box(-1, 1, (2,), np.float64), spaces.Discrete(2))
    columns = read(collect(tmp_path, env, "open", episodes=1, data_format=form), tmp_path)
    assert columns.episodes[["terminated", "truncated"]].values.tolist() == [[False, True]]
    assert columns.observations.dtype == np.float32
    env.reward = float("nan")
    shutil.rmtree(tmp_path / "columns")
    folder = collect(tmp_path, env, "nan", data_format=form)
    assert "episode 0: rewards holds NaN at step 0" in refusal(folder, tmp_path)


def harm(folder, how):
    data = folder / "data"
    file = next((data / "1").glob("*.arrow"))
    if how == "cut short":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif how == "gone":
        shutil.rmtree(data / "1")
    elif how == "no file":
        file.unlink()
    elif how == "a link":
        file.unlink()
        file.symlink_to("/etc/passwd")
    else:
        metadata = json.loads((data / "metadata.json").read_text())
        (data / "metadata.json").write_text(json.dumps(metadata | json.loads(how)))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("cut short", "damaged, cut short or of another format after episode 0"),
        ("gone", "episode 1: 1 is missing"),
        ("no file", "episode 1: 1 has 0 data files"),
        ("a link", "leaves"),
        ('{"total_episodes": -1}', "total_episodes -1"),
        ('{"total_episodes": 9}', "episode 2: 2 is missing"),
        ('{"observation_space": null}', "has no observation_space"),
        ('{"data_format": "feather"}', "the data_format is feather"),
    ],
)
def test_harmed_minari_folders_are_refused(tmp_path, how, expected):
    env = Sampled(spaces.Box(-1, 1, (2,)), spaces.Discrete(2))
    folder = collect(tmp_path, env, "harmed", data_format="arrow")
    harm(folder, how)
    assert expected in refusal(folder, tmp_path, format="minari")


def test_offsets_that_point_anywhere_are_refused_before_they_are_followed(tmp_path):
    """Frames of JPEG lie one behind the other; an offset of a foreign file may claim a megabyte that is not there."""
    folder = write_minari_arrow(tmp_path / "m")
    metadata = json.loads((folder / "data" / "metadata.json").read_text())
    low, high = (np.full((32, 33, 3), value).tolist() for value in (0, 255))
    image = {"type": "Box", "dtype": "uint8", "shape": [32, 33, 3], "low": low, "high": high}
    (folder / "data" / "metadata.json").write_text(json.dumps(metadata | {"observation_space": json.dumps(image)}))
    file = next((folder / "data" / "0").iterdir())
    with pa.OSFile(str(file), "rb") as stream, pa.ipc.open_file(stream) as reader:
        table = reader.read_all()
    offsets = np.array([0, 1 << 20, *[9] * (table.num_rows - 1)], dtype=np.int32)
    frames = pa.Array.from_buffers(
        pa.binary(), table.num_rows, [None, pa.py_buffer(offsets), pa.py_buffer(b"\xff\xd8" * 8)]
    )
    with pa.OSFile(str(file), "wb") as stream:
        harmed = table.set_column(0, "observations", frames)
        with pa.ipc.new_file(stream, harmed.schema) as writer:
            writer.write_table(harmed)
    assert "damaged, cut short or of another format at its first episode" in refusal(folder, tmp_path, format="minari")


def test_spaces_that_no_model_here_reads_are_refused(tmp_path):
    env = Sampled(spaces.Text(5), spaces.Discrete(2))
    assert "observation_space is a Text space" in refusal(collect(tmp_path, env, "text"), tmp_path)
