"""Columns far larger than what may be resident are trained on and measured without becoming resident."""

import mmap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seqrl.datasets.statistics import observation_moments
from seqrl.store.columns import TAIL_ROWS, Columns, Resident
from seqrl.windows import Windows

ROWS, WIDTH, LENGTH = 3000, 8192, 100
BYTES = ROWS * WIDTH * 4


def resident_file_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile"))


@pytest.fixture
def columns(tmp_path, monkeypatch):
    """About 100 MB of observations, most of them a hole in the file; at most 16 MB may stay resident."""
    monkeypatch.setattr(Resident, "LIMIT_BYTES", 16 * 2**20)
    arrays = {}
    for name, shape in (("observations", (ROWS + TAIL_ROWS, WIDTH)), ("actions", (ROWS + TAIL_ROWS, 2))):
        array = np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", np.float32, shape)
        array[:ROWS:LENGTH] = 1
        array.flush()
        arrays[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        del array
    starts = np.arange(0, ROWS, LENGTH)
    episodes = pd.DataFrame({"start": starts, "end": starts + LENGTH, "length": LENGTH})
    rewards = np.zeros(ROWS + TAIL_ROWS)
    return Columns(folder=tmp_path, facts=None, episodes=episodes, rewards=rewards, final_observations=None, **arrays)


def test_windows_give_pages_back_and_still_hold_the_data(columns):
    windows = Windows(columns, 20)
    before = resident_file_bytes()
    most = 0
    for batch in range(60):
        sample = windows.sample(16, 0, batch)
        held = np.asarray(columns.observations)[:0]  # the array itself stays usable
        assert held.shape == (0, WIDTH)
        most = max(most, resident_file_bytes() - before)
        first = sample.timesteps[:, 0].numpy() == 0
        assert (sample.observations[:, 0].numpy().max(axis=1) == first).all()
    assert most < 48 * 2**20 < BYTES


def test_statistics_give_pages_back(columns):
    before = resident_file_bytes()
    mean, std = observation_moments(columns.observations, ROWS)
    assert resident_file_bytes() - before < 48 * 2**20 < BYTES
    share = 1 / LENGTH
    assert mean == pytest.approx(share) and std == pytest.approx((share * (1 - share)) ** 0.5)


def test_small_or_plain_arrays_are_left_alone(tmp_path):
    np.save(tmp_path / "small.npy", np.ones((10, 4)))
    for array in (np.load(tmp_path / "small.npy", mmap_mode="r"), np.ones((10, 4))):
        resident = Resident(array)
        resident.touch(10**9)
        assert resident._touched == 0
    assert mmap.PAGESIZE > 0
