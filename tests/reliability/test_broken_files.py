"""Files of the home that were cut short, emptied, spoilt or removed: pages say what is wrong with that one thing."""

import random
import re
import zipfile

import pytest

from tests.reliability.conftest import SOAK
from tests.reliability.drawing import draw, sentences
from tests.reliability.test_old_stores import STORES

FILES = {
    "columns/old-data/columns.json": ("datasets", {"dataset": "old-data"}),
    "columns/old-data/episodes.parquet": ("datasets", {"dataset": "old-data"}),
    "columns/old-data/observations.npy": ("bins", {"bins.of": "dataset old-data"}),
    "columns/old-data/rewards.npy": ("bins", {"bins.of": "dataset old-data"}),
    "runs/old-dt/spec.json": ("runs", {"runs": "old-dt"}),
    "runs/old-dt/checkpoint/spec.json": ("rtg_sweep", {"ask": "old-dt"}),
    "runs/old-dt/checkpoint/model.safetensors": ("episode_lab", {"sweep": "old-rtg", "episode": "0"}),
    "runs/old-tt/checkpoint/spec.json": ("bins", {"bins.of": "run old-tt"}),
    "runs/old-tt/checkpoint/model.safetensors": ("beam_planning", {"sweep": "old-beam"}),
    "sweeps/old-rtg/spec.json": ("rtg_sweep", {"sweep": "old-rtg"}),
    "sweeps/old-rtg/episodes.parquet": ("rtg_sweep", {"sweep": "old-rtg"}),
    "sweeps/old-rtg/steps/index.parquet": ("episode_lab", {"sweep": "old-rtg", "episode": "0"}),
    "sweeps/old-rtg/steps/actions.int64.npy": ("episode_lab", {"sweep": "old-rtg", "episode": "0"}),
    "sweeps/old-beam/episodes.parquet": ("beam_planning", {"sweep": "old-beam"}),
    "sweeps/old-beam/steps/plan_values.float32.2.2.npy": ("beam_planning", {"sweep": "old-beam"}),
}
HARM = {
    "cut short": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "spoilt": lambda data: random.Random(len(data)).randbytes(len(data)),
    "deep": lambda data: b"[" * 10_000,
    "removed": None,
}
CASES = [(name, how) for name in FILES for how in HARM]


@pytest.mark.parametrize("name, how", CASES if SOAK else random.Random(8).sample(CASES, 5))
def test_a_page_over_a_broken_file_stays_up(home, name, how):
    with zipfile.ZipFile(STORES[0]) as archive:
        archive.extractall(home)
    path = home / name
    assert path.is_file()
    if HARM[how] is None:
        path.unlink()
    else:
        path.write_bytes(HARM[how](path.read_bytes()))
    page, query = FILES[name]
    app = draw(page, **query)
    assert len(app.title) == 1
    for said in sentences(app):
        assert "\n" not in said and len(said) < 600, said
        assert not re.search(r"\[Errno|Traceback|0x[0-9a-f]{6}", said), said
