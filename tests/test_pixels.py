"""Pictures all the way: stored as bytes, learnt from, asked for returns, filmed and explained."""

import numpy as np
import pytest
import torch

from seqrl.checkpoints import load_model
from seqrl.config import RunSpec, check_run, parse_model
from seqrl.store import Store
from seqrl.store.columns import Columns
from tests.in_process import as_json

SMALL = [
    "--set", "model.embedding_dim=32", "--set", "model.layers=1", "--set", "model.context_length=2",
    "--set", "model.dropout=0", "--set", "training.steps=250", "--set", "training.batch_size=128",
    "--set", "training.learning_rate=5e-3", "--set", "training.warmup_steps=10", "--set", "training.threads=1",
]  # fmt: skip


@pytest.fixture
def balls(run):
    mixed = ["--mix", "random=0.5,expert=0.5"]
    as_json(run("dataset", "build", "--env", "seqrl/Catch-v0", "--episodes", 80, *mixed, "--name", "balls", "--json"))
    return run


def test_a_model_learns_to_see_the_ball(balls, home, tmp_path):
    as_json(balls("train", "--dataset", "balls", "--name", "dt", "--model", "dt", *SMALL, "--json"))
    asked = ["--run", "dt", "--targets", "8", "--episodes", 10, "--decoding", "greedy", "--name", "s"]
    point = as_json(balls("sweep", "rtg", *asked, "--json"))["points"][0]
    assert point["mean"] > 4  # chance catches less than one of eight
    film = tmp_path / "x.mp4"
    code, _, error = balls("render", "--sweep", "s", "--run", "dt", "--target", 8, "--episode", 0, "--out", film)
    assert (code, error) == (0, "") and film.read_bytes()[4:8] == b"ftyp"
    store = Store(home)
    assert Columns.open(store.columns_folder("balls")).observations.dtype == np.uint8
    as_json(
        balls("response", "--sweep", "s", "--run", "dt", "--target", 8, "--step", 5, "--targets", "0:8:4", "--json")
    )
    as_json(balls("attention", "--sweep", "s", "--run", "dt", "--target", 8, "--step", 5, "--json"))


def test_windows_and_cache_act_alike_on_pictures(balls, home):
    few = ["--set", "training.steps=5", "--set", "model.return_head=bins"]
    as_json(balls("train", "--dataset", "balls", "--name", "dt", "--model", "dt", *SMALL, *few, "--json"))
    store = Store(home)
    model, _, _ = load_model(store.run_folder("dt"))
    batch = model.batches(Columns.open(store.columns_folder("balls")), np.arange(10)).sample(20, 0, 0)
    with torch.inference_mode():
        whole = model.act_logits(batch.observations, batch.actions[:, :1], batch.returns_to_go, torch.arange(2))
        state = model.begin(20)
        model.step(state, batch.observations[:, 0], batch.returns_to_go[:, 0], None, 0)
        cached = model.step(state, batch.observations[:, 1], batch.returns_to_go[:, 1], batch.actions[:, 0], 1)
        torch.testing.assert_close(cached, whole, atol=1e-4, rtol=1e-4)
        alone = model.act_logits(
            batch.observations[3:4], batch.actions[3:4, :1], batch.returns_to_go[3:4], torch.arange(2)
        )
        torch.testing.assert_close(alone[0], whole[3], atol=0, rtol=0)
        assert model.choose_return(batch.observations[:, 0], 0, 10.0).shape == (20,)


def test_who_cannot_read_pictures_says_so(balls, home):
    facts = Store(home).dataset("balls").facts
    for kind, sentence in (("rvs", "which a plain network cannot read"), ("tt", "reads one token a number")):
        with pytest.raises(ValueError, match=sentence):
            check_run(RunSpec(name="r", dataset="balls", model=parse_model({"kind": kind})), facts)
