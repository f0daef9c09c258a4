"""Malformed and code-carrying uploads, and a process that reads them one after the other.

``python hostile_files.py KIND FOLDER COUNT`` makes COUNT malformed files of a kind and imports each within the limits
of the worker. It prints one JSON line a case, and dies if the parser does.
"""

import io
import json
import os
import resource
import shutil
import struct
import sys
import time
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seqrl.config import ImportSpec, RunImportSpec
from seqrl.datasets.importers import ImportRefused
from seqrl.datasets.importing import import_dataset, limited, size_of
from tests.foreign_files import (
    box,
    steps,
    write_d4rl,
    write_huggingface,
    write_minari,
    write_minari_arrow,
    write_npz,
    write_parquet,
)

MEMORY_BYTES = 512 * 2**20
CPU_SECONDS = 2.0
MODELS = ("safetensors", "config", "archive")
"""Kinds that are models; the others are datasets."""


class Canary:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


# --- one valid file of each kind -------------------------------------------------------------------


def valid(kind, folder):
    """A valid upload of a kind: what is imported, and the file in it that is to be harmed."""
    if kind == "d4rl":
        path = write_d4rl(folder / "a.hdf5", chunks=True, compression="gzip")
        return path, path
    if kind == "minari":
        path = write_minari(folder / "m")
        (path / "data" / "metadata.json").write_text(json.dumps({"data_format": "hdf5", "total_episodes": 3}))
        return path, path / "data" / "main_data.hdf5"
    if kind in ("minari_arrow", "minari_parquet"):
        path = write_minari_arrow(folder / "m", kind.removeprefix("minari_"))
        return path, next((path / "data" / "1").iterdir())
    if kind == "minari_json":
        path = write_minari_arrow(folder / "m")
        return path, path / "data" / "metadata.json"
    if kind == "npz":
        path = write_npz(folder / "a.npz", compressed=False)
        return path, path
    if kind == "parquet":
        path = write_parquet(folder / "a.parquet")
        return path, path
    if kind == "arrow":
        path = write_huggingface(folder / "hf")
        return path, path / "data-00000-of-00001.arrow"
    if kind == "zip":
        inner = write_minari(folder / "inner")
        path = Path(shutil.make_archive(str(folder / "a"), "zip", inner))
        return path, path
    model = write_model(folder / "model")
    if kind == "archive":
        return (path := write_run(folder)), path
    return model, model / ("model.safetensors" if kind == "safetensors" else "config.json")


def write_model(folder):
    """A tiny Decision Transformer as transformers saves it."""
    import transformers

    config = transformers.DecisionTransformerConfig(state_dim=3, act_dim=1, hidden_size=16, n_layer=1, max_ep_len=250)
    transformers.DecisionTransformerModel(config).save_pretrained(folder)
    return folder


def write_run(folder):
    """A tiny run as seqrl exports it."""
    from seqrl.huggingface import export_archive, import_run

    (folder / "empty").mkdir(exist_ok=True)
    import_run(model_spec(write_model(folder / "source"), "hf"), None, folder / "empty").save(folder / "run")
    return export_archive(folder / "run", folder / "run.zip")


def model_spec(path, format):
    statistics = {"observation_mean": (0.0,) * 3, "observation_std": (1.0,) * 3}
    return RunImportSpec(name="x", path=str(path), format=format, environment="Pendulum-v1", **statistics)


# --- harm ------------------------------------------------------------------------------------------


def harmed(data, generator):
    """Bytes that were cut short, flipped, blanked, repeated, shuffled or inflated."""
    data, size = bytearray(data), len(data)
    at = int(generator.integers(size))
    match int(generator.integers(7)):
        case 0:
            return bytes(data[:at])
        case 1:
            for position in generator.integers(size, size=int(generator.integers(1, 17))):
                data[position] ^= 1 << int(generator.integers(8))
        case 2:
            end = min(size, at + int(generator.integers(1, 200)))
            data[at:end] = bytes(end - at)
        case 3:
            data[at : at + 8] = struct.pack("<Q", int(generator.integers(2**63)))
        case 4:
            data[at : at + 4] = b"\xff" * 4
        case 5:
            data[at:at] = data[at : at + int(generator.integers(1, 500))]
        case 6:  # structure stands at the beginning and at the end
            near = int(generator.integers(min(size, 512)))
            data[near if generator.integers(2) else size - 1 - near] = int(generator.integers(256))
    return bytes(data)


def bombs(kind, folder):
    """Files that claim or become more than they should: name → what writes the file."""
    huge = 10**12
    if kind == "d4rl":

        def sparse(path):
            with h5py.File(path, "w") as file:
                for name in ("observations", "actions", "rewards", "terminals"):
                    file.create_dataset(
                        name,
                        shape=(10**8, *(() if name in ("rewards", "terminals") else (100,))),
                        dtype="f4",
                        chunks=True,
                    )

        def wide(path):
            with h5py.File(path, "w") as file:
                for name, values in steps().items():
                    file[name] = values
                del file["observations"]
                file.create_dataset("observations", shape=(16, huge), dtype="f4", chunks=(1, 10**6))

        def virtual(path):
            layout = h5py.VirtualLayout(shape=(16, 3), dtype="f4")
            layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(16, 3))
            fields = steps()
            del fields["observations"]
            with h5py.File(write_d4rl(path, fields), "r+") as file:
                file.create_virtual_dataset("observations", layout)

        def external(path):
            fields = steps()
            del fields["rewards"]
            with h5py.File(write_d4rl(path, fields), "r+") as file:
                file.create_dataset("rewards", (16,), "f8", external=[("/etc/passwd", 0, 128)])

        def linked(path):
            fields = steps()
            del fields["rewards"]
            with h5py.File(write_d4rl(path, fields), "r+") as file:
                file["rewards"] = h5py.ExternalLink("/etc/passwd", "/rewards")

        def many(path):
            with h5py.File(path, "w") as file:
                for i in range(2000):
                    file.create_group(f"g{i}")

        return {
            "sparse": sparse,
            "wide": wide,
            "virtual": virtual,
            "external": external,
            "linked": linked,
            "many": many,
        }
    if kind == "npz":

        def zeros(path):
            fields = {name: np.zeros((400_000, *values.shape[1:]), values.dtype) for name, values in steps().items()}
            fields["observations"] = np.zeros((400_000, 60), dtype=np.float32)
            fields["timeouts"] = np.ones(400_000, dtype=bool)
            np.savez_compressed(path, **fields)

        def claims(path):
            with zipfile.ZipFile(path, "w") as archive:
                for name in ("observations", "actions", "rewards", "terminals"):
                    header = io.BytesIO()
                    np.lib.format.write_array_header_1_0(
                        header, {"descr": "<f8", "fortran_order": False, "shape": (huge,)}
                    )
                    archive.writestr(f"{name}.npy", header.getvalue())

        def fortran(path):
            fields = steps()
            np.savez(path, **(fields | {"observations": np.asfortranarray(fields["observations"])}))

        return {"zeros": zeros, "claims": claims, "fortran": fortran}
    if kind == "parquet":

        def repeated(path):
            fields = {name: np.zeros(3_000_000) for name in ("rewards", "episode", "actions")}
            fields["observations"] = np.zeros(3_000_000)
            pq.write_table(pa.table(fields), path)

        def nested(path):
            values = pa.array([[[[[[1.0]]]]]])
            pq.write_table(pa.table({"observations": values, "actions": values, "rewards": values}), path)

        return {"repeated": repeated, "nested": nested}
    if kind == "minari_arrow":

        def write(path, table, **options):
            with pa.OSFile(str(path), "wb") as stream:
                settings = pa.ipc.IpcWriteOptions(**options)
                with pa.ipc.new_file(stream, table.schema, options=settings) as writer:
                    writer.write_table(table)

        def columns(rows, width=3):
            lists = {"observations": width, "actions": 2}
            table = {
                name: pa.FixedSizeListArray.from_arrays(np.zeros(rows * size, "f4"), size)
                for name, size in lists.items()
            }
            flags = {"terminations": np.zeros(rows, bool), "truncations": np.zeros(rows, bool)}
            return pa.table(table | {"rewards": np.zeros(rows)} | flags)

        def compressed(path):
            write(path, columns(2_000_000, 30), compression="zstd")

        def batches(path):
            with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, columns(1).schema) as writer:
                for _ in range(20_000):
                    writer.write_batch(columns(1).to_batches()[0])

        def wide(path):
            write(path, columns(3, 3_000_000))

        def uneven(path):
            write(path, columns(5).set_column(0, "observations", [[[1.0]] * 5]))

        def texts(path):
            write(path, columns(5).set_column(2, "rewards", [["1.0"] * 5]))

        def missing(path):
            write(path, columns(5).set_column(2, "rewards", [[None, 1.0, 1.0, 1.0, 1.0]]))

        return {
            "compressed": compressed,
            "batches": batches,
            "wide": wide,
            "uneven": uneven,
            "texts": texts,
            "missing": missing,
        }
    if kind == "minari_json":
        good = {"data_format": "arrow", "total_episodes": 3, "observation_space": box(3), "action_space": box(2)}
        wide_box = {"type": "Box", "dtype": "float32", "shape": [huge], "low": [0.0], "high": [1.0]}
        nested = '{"type": "Tuple", "subspaces": [' * 2000 + box(3) + "]}" * 2000
        changes = {
            "deep": "[" * 10_000 + "]" * 10_000,
            "deep in a member": json.dumps(good)[:-1] + ', "note": ' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "}",
            "not text": "\x00\xff",
            "list": "[]",
            "digits": json.dumps(good).replace("3,", "9" * 10_000 + ",", 1),
        }
        for name, change in {
            "many episodes": {"total_episodes": huge},
            "negative": {"total_episodes": -1},
            "boolean": {"total_episodes": True},
            "wide space": {"observation_space": json.dumps(wide_box)},
            "deep space": {"observation_space": nested},
            "another shape": {"observation_space": box(2)},
            "space that is a list": {"observation_space": ["Box"]},
            "path as format": {"data_format": "../../etc/passwd"},
        }.items():
            changes[name] = json.dumps(good | change)
        return {name: lambda path, text=text: path.write_text(text) for name, text in changes.items()}
    if kind == "zip":

        def crowd(path):
            with zipfile.ZipFile(path, "w") as archive:
                for i in range(100_000):
                    archive.writestr(f"{i}", b"")

        def blanks(path):
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("data/main_data.hdf5", bytes(200 * 2**20))

        def nested(path):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("/".join("a" * 2000), b"")

        def long(path):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("a" * 5000, b"")

        def twice(path):
            with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings(action="ignore"):
                archive.writestr("data/main_data.hdf5", b"one")
                archive.writestr("data/main_data.hdf5", b"other")

        def file_as_folder(path):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("data", b"one")
                archive.writestr("data/main_data.hdf5", b"other")

        return {
            "blanks": blanks,
            "crowd": crowd,
            "nested": nested,
            "long": long,
            "twice": twice,
            "file as folder": file_as_folder,
        }
    if kind == "safetensors":

        def header(path):
            path.write_bytes(struct.pack("<Q", 2**62) + b"{}")

        def overlapping(path):
            entry = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
            text = json.dumps({"embed_ln.bias": entry}).encode()
            path.write_bytes(struct.pack("<Q", len(text)) + text)

        return {"header": header, "overlapping": overlapping}
    if kind == "config":
        texts = {
            "deep": "[" * 100_000,
            "number": '{"n_layer": 1e400}',
            "digits": '{"hidden_size": ' + "9" * 10_000 + "}",
            "list": "[1]",
            "not text": "\x00\xff",
            "duplicate": '{"state_dim": 3, "state_dim": -1}',
            "negative": '{"max_ep_len": -5}',
            "text": '{"n_head": "many"}',
            "wide": '{"hidden_size": 1000000000}',
        }
        return {name: lambda path, text=text: path.write_text(text) for name, text in texts.items()}
    return {}


def read(kind, path, folder):
    """Import within the limits; the sentence of a refusal, or None."""
    scratch = folder / "scratch"
    scratch.mkdir()
    try:
        if kind in MODELS:
            from seqrl.huggingface import import_run

            with limited(size_of(path)):
                import_run(model_spec(path, "zip" if kind == "archive" else "hf"), None, scratch)
        else:
            with limited(size_of(path)):
                import_dataset(ImportSpec(name="x", path=str(path)), folder / "columns", scratch)
    except ImportRefused as refused:
        return str(refused)
    except ValueError as refused:  # a model that does not fit what it acts on
        if kind not in MODELS or type(refused) is not ValueError:
            raise
        return str(refused)
    finally:
        shutil.rmtree(scratch)
    return None


def measured(name, kind, path, folder):
    """Import one case, and print what it took and what it left."""
    print(json.dumps({"begins": name}), flush=True)
    used, began = _cpu(), time.time()
    sentence = read(kind, path, folder)
    columns = folder / "columns"
    traces = [str(item.name) for item in folder.iterdir() if "columns" in item.name and (sentence or item != columns)]
    shutil.rmtree(columns, ignore_errors=True)
    result = {
        "case": name,
        "sentence": sentence,
        "cpu_s": _cpu() - used,
        "wall_s": time.time() - began,
        "traces": traces,
    }
    print(json.dumps(result), flush=True)


def _cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _data_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))


def main(kind, folder, count):
    """Read the valid file, then malformed ones."""
    folder = Path(folder)
    path, target = valid(kind, folder)
    original = target.read_bytes()
    assert read(kind, path, folder) is None, "the valid file must be accepted"
    shutil.rmtree(folder / "columns", ignore_errors=True)
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + MEMORY_BYTES, resource.RLIM_INFINITY))
    generator = np.random.default_rng(sum(kind.encode()))
    for name, write in bombs(kind, folder).items():
        target.unlink()
        write(target)
        measured(f"bomb {name}", kind, path, folder)
    for index in range(int(count)):
        target.write_bytes(harmed(original, generator))
        measured(f"harm {index}", kind, path, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
