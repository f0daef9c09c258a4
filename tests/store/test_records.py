import numpy as np
import pytest

from seqrl.store.records import EpisodeRecord


def record(**values):
    defaults = {
        "run": "r",
        "decoding": "greedy",
        "target": 2.0,
        "episode": 0,
        "seed": 1,
        "terminated": True,
        "truncated": False,
        "actions": np.array([0, 1, 1]),
        "rewards": np.array([0.5, 0.25, 1.0]),
        "returns_to_go": np.array([2.0, 1.5, 1.25]),
    }
    return EpisodeRecord(**(defaults | values))


def test_the_return_is_the_sum_of_the_rewards():
    assert record().achieved_return == 1.75 and record().length == 3


def test_step_arrays_are_all_that_have_a_row_a_step():
    full = record(action_probabilities=np.zeros((3, 2)), extra={"value": np.ones(3)})
    assert list(full.step_arrays()) == ["actions", "rewards", "returns_to_go", "action_probabilities", "value"]
    assert list(record().step_arrays()) == ["actions", "rewards", "returns_to_go"]


@pytest.mark.parametrize("values", [{"rewards": np.zeros(2)}, {"extra": {"value": np.zeros(4)}}])
def test_step_arrays_of_different_lengths_are_refused(values):
    with pytest.raises(ValueError, match="step arrays of a record differ in length"):
        record(**values)
