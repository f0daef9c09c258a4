import numpy as np
import pytest

from seqrl.mapped import Resident
from seqrl.tokens import (
    fit_numbers,
    fit_tokenizer,
    restricted_layout,
    restricted_tokenizer,
    token_numbers,
    transition_layout,
    value_targets,
)
from tests.trajectories import box, make_facts

ENDS, TERMINATED = np.array([40, 100]), np.array([True, False])


@pytest.fixture
def steps():
    generator = np.random.default_rng(0)
    return generator.normal(size=(100, 5)).astype(np.float32), generator.normal(size=(100, 2)).astype(np.float32)


def test_a_restricted_layout_reads_the_same_numbers(steps):
    layout = transition_layout(make_facts(5, box(2)))
    names = [dimension.name for dimension in layout.dimensions]
    part = restricted_layout(layout, [names[3], names[6]])
    assert [dimension.name for dimension in part.dimensions] == [names[3], names[6], "reward", "value"]
    rewards, values, rows = np.arange(100.0), -np.arange(100.0), np.array([2, 50])
    numbers = token_numbers(part, *steps, rewards, values, rows)
    expected = np.stack([steps[0][rows, 3], steps[1][rows, 1], rewards[rows], values[rows]], axis=1)
    np.testing.assert_array_equal(numbers, expected)


def test_bins_of_a_part_are_those_of_the_whole(steps):
    layout = transition_layout(make_facts(5, box(2)))
    names = [dimension.name for dimension in layout.dimensions]
    rewards = np.linspace(0, 1, 100)
    whole = fit_tokenizer(layout, *steps, rewards, ENDS, TERMINATED, bins=9, strategy="quantile", discount=0.9)
    part = restricted_tokenizer(whole, [names[4]])
    np.testing.assert_array_equal(part.bins.edges[0], whole.bins.edges[4])
    assert part.end_token == whole.end_token
    np.testing.assert_array_equal(part.encode_observations(steps[0])[:, 0], whole.encode_observations(steps[0])[:, 4])


def test_fitting_to_numbers_is_fitting_to_the_data(steps):
    layout = transition_layout(make_facts(5, box(2)))
    rewards = np.linspace(0, 1, 100)
    whole = fit_tokenizer(layout, *steps, rewards, ENDS, TERMINATED, bins=9, strategy="uniform", discount=0.9)
    values, returns = (value_targets(rewards, ENDS, TERMINATED, discount) for discount in (0.9, 1.0))
    terminal = np.arange(100) == 39
    numbers = token_numbers(layout, *steps, rewards, values, np.arange(100))
    again = fit_numbers(layout, numbers, returns, terminal, bins=9, strategy="uniform")
    np.testing.assert_array_equal(again.bins.edges, whole.bins.edges)
    np.testing.assert_array_equal(again.value_returns, whole.value_returns)


def test_numbers_of_a_large_column_are_read_from_its_file(tmp_path, monkeypatch, steps):
    monkeypatch.setattr(Resident, "LIMIT_BYTES", 100)
    np.save(tmp_path / "observations.npy", steps[0])
    mapped = np.load(tmp_path / "observations.npy", mmap_mode="r")
    layout = transition_layout(make_facts(5, box(2)))
    rows, nothing = np.arange(0, 100, 7), np.zeros(100)
    numbers = token_numbers(layout, mapped, steps[1], nothing, nothing, rows)
    np.testing.assert_array_equal(numbers[:, :5], steps[0][rows])
