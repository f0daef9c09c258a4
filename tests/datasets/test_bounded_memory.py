"""Columns far larger than what may be resident are trained on and measured without becoming resident."""

import mmap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seqrl.datasets.statistics import observation_moments
from seqrl.mapped import Resident
from seqrl.store.columns import TAIL_ROWS, Columns, spans_of
from seqrl.tokens import dataset_tokens, fit_tokenizer, fitting, transition_layout, transitions
from seqrl.windows import Windows
from tests.trajectories import box, make_facts

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
    episodes = pd.DataFrame(
        {"start": starts, "end": starts + LENGTH, "length": LENGTH, "achieved_return": 0, "terminated": False}
    )
    rewards = np.zeros(ROWS + TAIL_ROWS)
    return Columns(
        folder=tmp_path,
        facts=None,
        spans=spans_of(episodes),
        table=episodes,
        rewards=rewards,
        final_observations=None,
        **arrays,
    )


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


def test_windows_of_large_columns_are_those_of_small_ones(columns, monkeypatch):
    large = Windows(columns, 20)
    monkeypatch.setattr(Resident, "LIMIT_BYTES", 2**40)
    small = Windows(columns, 20)
    for batch in range(3):
        ours, theirs = large.sample(16, 1, batch), small.sample(16, 1, batch)
        for name in ("observations", "actions", "returns_to_go", "timesteps", "mask"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_statistics_give_pages_back(columns):
    before = resident_file_bytes()
    mean, std = observation_moments(columns.observations, ROWS)
    assert resident_file_bytes() - before < 48 * 2**20 < BYTES
    share = 1 / LENGTH
    assert mean == pytest.approx(share) and std == pytest.approx((share * (1 - share)) ** 0.5)


def test_passing_over_every_episode_gives_pages_back(columns):
    columns = replace(columns, final_observations=np.zeros((ROWS // LENGTH, WIDTH), dtype=np.float32))
    before, most = resident_file_bytes(), 0
    for index in range(len(columns.episodes)):
        steps = columns.episode(index)
        assert steps.observations[0].min() == 1 and steps.actions[0].min() == 1
        most = max(most, resident_file_bytes() - before)
    assert most < 48 * 2**20 < BYTES


def test_small_or_plain_arrays_are_left_alone(tmp_path):
    np.save(tmp_path / "small.npy", np.ones((10, 4)))
    for array in (np.load(tmp_path / "small.npy", mmap_mode="r"), np.ones((10, 4))):
        resident = Resident(array)
        resident.touch(10**9)
        assert resident._touched == 0
    assert mmap.PAGESIZE > 0


def test_tokens_too_many_for_memory_lie_in_a_nameless_file(tmp_path, monkeypatch):
    rows, width, ends = 40_000, 200, np.arange(LENGTH, 40_001, LENGTH)
    monkeypatch.setattr(Resident, "LIMIT_BYTES", 4 * 2**20)
    monkeypatch.setattr("seqrl.tokens.fitting._MAX_FIT_VALUES", 500 * width)
    monkeypatch.setattr("seqrl.mapped.LARGEST_HELD_BYTES", 2**20)
    written = np.lib.format.open_memmap(tmp_path / "observations.npy", "w+", np.float32, (rows, width))
    written[::LENGTH] = 1
    written.flush()
    del written
    observations = np.load(tmp_path / "observations.npy", mmap_mode="r")
    layout = transition_layout(make_facts(width, box(2)))
    data = (observations, np.zeros((rows, 2), dtype=np.float32), np.zeros(rows), ends, np.zeros(len(ends), dtype=bool))
    before = resident_file_bytes()
    tokenizer = fit_tokenizer(layout, *data, bins=5, strategy="uniform", discount=0.9)
    tokens = dataset_tokens(tokenizer, *data, discount=0.9, folder=tmp_path)
    assert resident_file_bytes() - before < 16 * 2**20 < observations.nbytes
    assert isinstance(tokens, np.memmap) and [path.name for path in tmp_path.iterdir()] == ["observations.npy"]
    first = np.arange(rows) % LENGTH == 0
    observed = np.asarray(tokens[:, :width])
    assert (observed[first] == observed[0, 0]).all() and (observed[~first] == observed[1, 0]).all()
    assert observed[0, 0] != observed[1, 0]  # the extremes were found though few rows were fitted to


def test_the_extremes_of_a_column_are_found_piece_by_piece(monkeypatch):
    monkeypatch.setattr(transitions, "_CHUNK_VALUES", 30)
    column = np.random.default_rng(0).integers(0, 9, (500, 3)).astype(np.float32)
    candidates = np.arange(7, 480)
    low, high = fitting._extremes(column, candidates)
    np.testing.assert_array_equal(low, column[candidates].argmin(axis=0))
    np.testing.assert_array_equal(high, column[candidates].argmax(axis=0))
