"""Issue 8, hostile files: malformed uploads are refused with a sentence or valid, quickly, in little memory, without a
trace; files that carry code never run it.

Each kind is read in a process of its own, under the limits that a worker sets itself, so that a crash of a parser would
show as such.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.foreign_files import (
    episode_lists,
    step_table,
    steps,
    write_d4rl,
    write_huggingface,
    write_minari,
    write_parquet,
)
from tests.reliability.hostile_files import CPU_SECONDS, MODELS, Canary, write_model

HERE = Path(__file__).parent
ENVIRONMENT = {
    "PYTHONPATH": str(HERE.parents[1]),
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
}
CASES = {
    "d4rl": 70,
    "minari": 80,
    "minari_arrow": 80,
    "minari_parquet": 80,
    "minari_json": 40,
    "npz": 80,
    "parquet": 80,
    "arrow": 80,
    "zip": 60,
    "safetensors": 50,
    "config": 40,
    "archive": 40,
}


def test_there_are_at_least_five_hundred_cases():
    assert sum(CASES.values()) >= 500


@pytest.mark.parametrize("kind", CASES)
def test_malformed_files_are_refused_with_a_sentence_or_valid(kind, tmp_path):
    if kind in MODELS:
        pytest.importorskip("transformers")
    done = subprocess.run(
        [sys.executable, HERE / "hostile_files.py", kind, tmp_path, str(CASES[kind])],
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{lines[-1:]}: {done.stderr[-2000:]}"
    results = [line for line in lines if "case" in line]
    assert len(results) >= CASES[kind]
    for result in results:
        sentence = result["sentence"]
        assert sentence is None or ("\n" not in sentence and 10 < len(sentence) < 500), result
        assert not result["traces"] and result["cpu_s"] < CPU_SECONDS, result
    refused = sum(result["sentence"] is not None for result in results)
    assert refused > len(results) // 4  # the harm is real


# --- files that carry code -------------------------------------------------------------------------


def pickled(path, canary):
    """An array of objects: numpy would unpickle it if it were allowed to."""
    array = np.empty(16, dtype=object)
    array[:] = Canary(canary)
    np.savez(path, **(steps() | {"rewards": array}), allow_pickle=True)
    return path


def environment_of(entry):
    """A Minari dataset without spaces, whose environment would have to be made to learn them."""

    def write(path, canary):
        folder = write_minari(path)
        spec = {
            "id": "Evil-v0",
            "entry_point": entry,
            "kwargs": {"command": f"touch {canary}"},
            "additional_wrappers": [],
        }
        metadata = {"env_spec": json.dumps(spec), "total_episodes": 3, "total_steps": 16, "data_format": "hdf5"}
        (folder / "data" / "metadata.json").write_text(json.dumps(metadata))
        return folder

    return write


def wrapper_of(entry):
    def write(path, canary):
        folder = environment_of("gymnasium.envs.classic_control:CartPoleEnv")(path, canary)
        metadata = json.loads((folder / "data" / "metadata.json").read_text())
        wrapper = {"name": "W", "entry_point": entry, "kwargs": {"command": f"touch {canary}"}}
        spec = json.loads(metadata["env_spec"]) | {"id": "CartPole-v1", "additional_wrappers": [wrapper]}
        (folder / "data" / "metadata.json").write_text(json.dumps(metadata | {"env_spec": json.dumps(spec)}))
        return folder

    return write


def attribute_of(value):
    """Minari before 0.5 kept the environment in an attribute of the file."""

    def write(path, canary):
        folder = write_minari(path)
        with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
            file.attrs["env_spec"] = json.dumps(
                {"id": value, "entry_point": value, "kwargs": {"command": f"touch {canary}"}}
            )
        return folder

    return write


def script_beside(name):
    """A folder of datasets with a loading script, as its hub once ran them."""

    def write(path, canary):
        folder = write_huggingface(path)
        (folder / name).write_text(f"import os\nos.system('touch {canary}')\n")
        info = json.loads((folder / "dataset_info.json").read_text())
        (folder / "dataset_info.json").write_text(json.dumps(info | {"builder_name": "hf", "download_script": name}))
        return folder

    return write


def extension(name):
    """An Arrow extension type whose description is pickled (CVE-2023-47248)."""

    def write(path, canary):
        import pickle

        storage = pa.array(episode_lists()["rewards"])
        metadata = {"ARROW:extension:name": name, "ARROW:extension:metadata": pickle.dumps(Canary(canary), 0)}
        fields = [pa.field("rewards", storage.type, metadata=metadata)]
        fields += [pa.field(key, pa.array(episode_lists()[key]).type) for key in ("observations", "actions")]
        arrays = [pa.array(episode_lists()[field.name]) for field in fields]
        pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), path)
        return path

    return write


def metadata_of(key):
    def write(path, canary):
        import pickle

        table = step_table()
        return write_parquet(path, table.replace_schema_metadata({key: pickle.dumps(Canary(canary))}))

    return write


def member(name):
    """A ZIP archive that would write or link outside of its folder."""

    def write(path, canary):
        with zipfile.ZipFile(path, "w") as archive:
            info = zipfile.ZipInfo(name.format(canary=canary))
            archive.writestr(info, "x")
        return path

    return write


def link_to(target):
    def write(path, canary):
        with zipfile.ZipFile(path, "w") as archive:
            info = zipfile.ZipInfo("data")
            info.external_attr = 0o120777 << 16
            archive.writestr(info, target.format(canary=canary))
            archive.writestr("data/canary", "x")
        return path

    return write


def pickled_model(name):
    """A model whose weights are pickled."""

    def write(path, canary):
        import pickle

        folder = write_model(path)
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(pickle.dumps(Canary(canary)))
        return folder

    return write


def opaque(path, canary):
    import pickle

    fields = steps()
    del fields["rewards"]
    with h5py.File(write_d4rl(path, fields), "r+") as file:
        file["rewards"] = np.array([np.void(pickle.dumps(Canary(canary)))] * 16)
    return path


def config_with(**values):
    def write(path, canary):
        folder = write_model(path)
        config = json.loads((folder / "config.json").read_text())
        (folder / "modeling.py").write_text(f"import os\nos.system('touch {canary}')\n")
        (folder / "config.json").write_text(json.dumps(config | values))
        return folder

    return write


DATASETS = {
    "pickled npz": ("a.npz", pickled),
    **{
        f"entry point {entry}": ("m", environment_of(entry))
        for entry in (
            "os:system",
            "subprocess:getoutput",
            "builtins:exec",
            "evil.module:Env",
            "../evil:Env",
            "os:popen",
        )
    },
    **{f"wrapper {entry}": ("m", wrapper_of(entry)) for entry in ("os:system", "subprocess:call", "evil:Wrapper")},
    **{
        f"attribute {value}": ("m", attribute_of(value))
        for value in ("os:system", "evil:CartPole-v1", "module:Evil-v0")
    },
    **{f"script {name}": ("hf", script_beside(name)) for name in ("hf.py", "dataset.py", "__init__.py", "setup.py")},
    **{
        f"extension {name}": ("a.parquet", extension(name))
        for name in ("arrow.py_extension_type", "arrow.opaque", "pandas.object")
    },
    **{
        f"metadata {key}": ("a.parquet", metadata_of(key)) for key in ("pandas", "seqrl", "huggingface", "ARROW:schema")
    },
    **{
        f"zip member {name}": ("a.zip", member(name))
        for name in (
            "../canary",
            "/{canary}",
            "{canary}",
            "a/../../canary",
            "..\\canary",
            "C:\\canary",
            "a/b/../../../canary",
        )
    },
    **{f"zip link {target}": ("a.zip", link_to(target)) for target in ("..", "{canary}", "/tmp")},
    "opaque hdf5": ("a.hdf5", opaque),
}
FOREIGN_MODELS = {
    **{
        f"pickled {name}": ("model", pickled_model(name))
        for name in ("model.safetensors", "pytorch_model.bin", "model.pt", "model.ckpt")
    },
    "remote code": ("model", config_with(auto_map={"AutoModel": "modeling.Evil"}, trust_remote_code=True)),
    "evaluated activation": ("model", config_with(activation_function="__import__('os').system")),
    "config that is a path": ("model", config_with(_name_or_path="../../modeling.py", model_type="../modeling")),
}


def test_there_are_at_least_thirty_files_that_carry_code():
    assert len(DATASETS) + len(FOREIGN_MODELS) >= 30


def run_guarded(code, *arguments):
    """Run code in a process whose audit hook reports what no import may do."""
    return subprocess.run(
        [sys.executable, HERE / "guarded.py", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
    )


@pytest.mark.parametrize("cases", ["datasets", "models"])
def test_code_in_files_never_runs(cases, tmp_path):
    if cases == "models":
        pytest.importorskip("transformers")
    listed = []
    for number, (name, (file, write)) in enumerate((DATASETS if cases == "datasets" else FOREIGN_MODELS).items()):
        folder = tmp_path / f"case{number}"
        folder.mkdir()
        path = write(folder / file, tmp_path / "canary")
        listed.append({"name": name, "path": str(path), "folder": str(folder)})
    (tmp_path / "cases.json").write_text(json.dumps(listed))
    done = run_guarded(cases, tmp_path / "cases.json")
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["name"] for result in results] == [case["name"] for case in listed]
    for result in results:
        assert not result["events"], result
    assert not list(tmp_path.rglob("canary*")) and not Path("/tmp/canary").exists()
    assert not list((tmp_path.parent).glob("canary"))


def test_the_guard_notices_what_it_is_there_for(tmp_path):
    done = run_guarded("selftest", tmp_path / "canary")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [bool(result["events"]) for result in results] == [True] * len(results), done.stdout + done.stderr
    assert len(results) >= 4
