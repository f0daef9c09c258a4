"""A checkpoint is never half visible, however often its writer is killed."""

import time

import pytest
import torch

from seqrl.checkpoints import load_model, load_training_state
from seqrl.files import remove_partials
from tests.acting import actor_for, facts_for
from tests.reliability.forked import Forked
from tests.reliability.saving import save
from tests.waiting import until


@pytest.fixture(scope="module")
def writers():
    forking = Forked()
    yield forking
    forking.close()


def test_kills_while_saving(tmp_path, writers, times, chance):
    save(tmp_path, actor_for(facts_for("CartPole-v1")), 0)
    step = 0
    for _ in range(times(20, 100)):
        writers.save_for_ever(tmp_path, step + 1)
        until(lambda: any(path.name.startswith(".") for path in tmp_path.iterdir()), 20)  # it has begun
        time.sleep(chance.uniform(0.0, 0.08))
        writers.kill_now()
        state = load_training_state(tmp_path)
        assert state.step >= step
        step = state.step
        assert state.values["time_s"] == step
        assert (state.tensors["parameters"] == step).all()
        model, *_ = load_model(tmp_path)
        assert all(
            (value.float() == float(torch.tensor(step).to(value.dtype))).all() for value in model.state_dict().values()
        )
        remove_partials(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert step > 0
