import json
import os

import pytest
import torch

from seqrl import checkpoints
from seqrl.checkpoints import (
    Checkpoint,
    NoCheckpoint,
    TrainingState,
    git_commit,
    load_model,
    load_training_state,
    read_about,
    save_checkpoint,
)
from seqrl.config import RunSpec
from seqrl.models.decision_transformer import DecisionTransformer
from tests.windowed import make_facts

FACTS = make_facts()
SPEC = RunSpec.model_validate(
    {"name": "run", "dataset": "data", "model": {"kind": "dt", "embedding_dim": 16, "layers": 1, "context_length": 4}}
)
STATE = TrainingState(7, {"parameters": torch.arange(5.0)}, {"best_loss": 0.1 + 0.2, "threads": 2})


def make_model(seed=0):
    return DecisionTransformer.build(SPEC.model, FACTS, seed)


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    model = make_model()
    save_checkpoint(tmp_path, Checkpoint(model.state_dict(), STATE), SPEC, FACTS)
    loaded, spec, facts = load_model(tmp_path)
    assert (spec, facts) == (SPEC, FACTS)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    state = load_training_state(tmp_path)
    assert (state.step, state.values) == (7, STATE.values)
    assert torch.equal(state.tensors["parameters"], STATE.tensors["parameters"])


def test_a_checkpoint_says_where_it_comes_from(tmp_path):
    save_checkpoint(tmp_path, Checkpoint(make_model().state_dict()), SPEC, FACTS, extra={"imported_from": "elsewhere"})
    about = read_about(tmp_path)
    assert {"format", "seqrl_version", "torch_version", "git_commit", "spec", "facts"} <= set(about)
    assert about["imported_from"] == "elsewhere"
    assert load_training_state(tmp_path) is None


def test_parameters_that_are_views_of_one_buffer_are_saved_apart(tmp_path):
    model = make_model()
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])
    start = 0
    for parameter in model.parameters():
        parameter.data = flat[start : (start := start + parameter.numel())].view_as(parameter)
    save_checkpoint(tmp_path, Checkpoint(model.state_dict()), SPEC, FACTS)
    size = os.path.getsize(tmp_path / "checkpoint" / "model.safetensors")
    assert size < 4 * len(flat) + 10_000


def test_a_failed_save_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, Checkpoint(make_model(0).state_dict(), STATE), SPEC, FACTS)
    monkeypatch.setattr(
        checkpoints.json, "dumps", lambda *arguments, **settings: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        save_checkpoint(tmp_path, Checkpoint(make_model(1).state_dict(), STATE), SPEC, FACTS)
    model, _, _ = load_model(tmp_path)
    assert torch.equal(model.embed_timestep.weight, make_model(0).embed_timestep.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_run_without_a_checkpoint_says_so(tmp_path):
    for load in (load_model, load_training_state, read_about):
        with pytest.raises(NoCheckpoint, match="has no checkpoint yet; train the run first"):
            load(tmp_path)


def test_weights_of_another_model_are_refused_in_a_sentence(tmp_path):
    other = DecisionTransformer.build(SPEC.model.model_copy(update={"layers": 2}), FACTS, 0)
    save_checkpoint(tmp_path, Checkpoint(other.state_dict()), SPEC, FACTS)
    with pytest.raises(ValueError, match="does not hold the weights that its spec.json describes"):
        load_model(tmp_path)


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    save_checkpoint(tmp_path, Checkpoint(make_model().state_dict()), SPEC, FACTS)
    path = tmp_path / "checkpoint" / "spec.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(ValueError, match="format 99; this version reads 1"):
        load_model(tmp_path)


def test_the_commit_is_read_without_git(tmp_path):
    assert git_commit(tmp_path / "nowhere") is None
    git, inner = tmp_path / ".git", tmp_path / "a" / "b"
    (git / "refs" / "heads").mkdir(parents=True)
    inner.mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert git_commit(inner) is None
    (git / "packed-refs").write_text("# pack-refs\n" + "a" * 40 + " refs/heads/main\n")
    assert git_commit(inner) == "a" * 40
    (git / "refs" / "heads" / "main").write_text("b" * 40 + "\n")
    assert git_commit(inner) == "b" * 40
    (git / "HEAD").write_text("c" * 40 + "\n")
    assert git_commit(inner) == "c" * 40
