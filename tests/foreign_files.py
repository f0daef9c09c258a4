"""Files as other people's programs write them, from the same three small episodes."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LENGTHS = (4, 7, 5)
ENDS = np.cumsum(LENGTHS)


def steps(states=3, discrete=False, seed=0):
    """Flat steps of three episodes: the first terminates, the others are cut off."""
    generator = np.random.default_rng(seed)
    count = sum(LENGTHS)
    terminals, timeouts = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    terminals[ENDS[0] - 1] = True
    timeouts[ENDS[1:] - 1] = True
    actions = generator.integers(3, size=count) if discrete else generator.uniform(-1, 1, (count, 2)).astype(np.float32)
    return {
        "observations": generator.normal(size=(count, states)).astype(np.float32),
        "actions": actions,
        "rewards": generator.normal(size=count),
        "terminals": terminals,
        "timeouts": timeouts,
        "next_observations": generator.normal(size=(count, states)).astype(np.float32),
    }


def write_d4rl(path, fields=None, **settings):
    with h5py.File(path, "w") as file:
        for name, values in (steps() if fields is None else fields).items():
            file.create_dataset(name, data=values, **settings)
    return path


def write_npz(path, fields=None, compressed=True):
    (np.savez_compressed if compressed else np.savez)(path, **(steps() if fields is None else fields))
    return path


def step_table(fields=None):
    """One row a step, with an episode column and lists."""
    fields = dict(steps() if fields is None else fields)
    fields.pop("terminals", None), fields.pop("timeouts", None)
    fields["episode"] = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    return pa.table({name: list(values) if values.ndim > 1 else values for name, values in fields.items()})


def write_parquet(path, table=None, **settings):
    pq.write_table(step_table() if table is None else table, path, **settings)
    return path


def episode_lists(fields=None):
    """One entry an episode, as in the Decision Transformer sets of Hugging Face."""
    fields = steps() if fields is None else fields
    split = {name: np.split(fields[name], ENDS[:-1]) for name in ("observations", "actions", "rewards")}
    dones = np.split(fields["terminals"], ENDS[:-1])
    return {name: [part.tolist() for part in parts] for name, parts in (split | {"dones": dones}).items()}


def write_huggingface(folder, lists=None, **settings):
    import datasets

    datasets.Dataset.from_dict(episode_lists() if lists is None else lists).save_to_disk(str(folder), **settings)
    return folder


def write_minari(folder, episodes=3, observations="observations"):
    """The HDF5 file of a Minari dataset, without going through Minari."""
    fields = steps()
    data = folder / "data"
    data.mkdir(parents=True)
    with h5py.File(data / "main_data.hdf5", "w") as file:
        for index, (start, end) in enumerate(zip([0, *ENDS[:-1]], ENDS, strict=True)):
            group = file.create_group(f"episode_{index}")
            last = fields["next_observations"][end - 1 : end]
            group["observations"] = np.concatenate([fields["observations"][start:end], last])
            for ours, theirs in (
                ("actions",) * 2,
                ("rewards",) * 2,
                ("terminals", "terminations"),
                ("timeouts", "truncations"),
            ):
                group[theirs] = fields[ours][start:end]
            group.attrs["seed"] = index
    return folder


def box(size):
    """A box as Minari describes it."""
    text = {"type": "Box", "dtype": "float32", "shape": [size], "low": [-10.0] * size, "high": [10.0] * size}
    return json.dumps(text)


def write_minari_arrow(folder, form="arrow"):
    """A Minari dataset with a folder an episode; the last row of everything but observations is padding."""
    fields = steps()
    data = folder / "data"
    for index, (start, end) in enumerate(zip([0, *ENDS[:-1]], ENDS, strict=True)):
        (data / str(index)).mkdir(parents=True)
        padded = {name: np.concatenate([fields[name][start:end], fields[name][end - 1 : end]]) for name in fields}
        padded["observations"][-1] = padded.pop("next_observations")[-1]
        table = pa.table(
            {
                "observations": pa.FixedSizeListArray.from_arrays(padded["observations"].ravel(), 3),
                "actions": pa.FixedSizeListArray.from_arrays(padded["actions"].ravel(), 2),
                "rewards": padded["rewards"],
                "terminations": padded["terminals"],
                "truncations": padded["timeouts"],
            }
        )
        path = data / str(index) / f"part-0.{form}"
        if form == "parquet":
            pq.write_table(table, path)
        else:
            with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, table.schema) as writer:
                writer.write_table(table)
    spaces = {"observation_space": box(3), "action_space": box(2)}
    (data / "metadata.json").write_text(json.dumps({"data_format": form, "total_episodes": 3} | spaces))
    return folder
