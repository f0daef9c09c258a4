"""Open-loop error and response of models whose answers are known."""

import numpy as np
import pytest
import torch

from seqrl.config import ImportSpec, OpenLoopSpec, RunSpec, parse_model
from seqrl.datasets.importing import import_dataset
from seqrl.models.decision_transformer import BehaviourCloning, DecisionTransformer
from seqrl.models.trajectory_transformer import TrajectoryTransformer
from seqrl.open_loop import choose_episodes, evaluate, shifted_requests
from seqrl.policies import SequencePolicy
from seqrl.store.columns import Columns
from seqrl.windows import WindowBatch, returns_to_go, split_episodes
from tests.acting import actor_for, facts_for
from tests.foreign_files import steps, write_npz

SPEC = OpenLoopSpec(name="e", run="r", dataset="d", targets=(-1.0, 1.0), response_steps=8)


def data(tmp_path, discrete):
    path = write_npz(tmp_path / "a.npz", steps(discrete=discrete))
    import_dataset(ImportSpec(name="d", path=str(path)), tmp_path / "columns", tmp_path)
    return Columns.open(tmp_path / "columns")


def run_for(kind="dt", fraction=0.0, **settings):
    model = parse_model({"kind": kind, "embedding_dim": 16, "layers": 1, "heads": 1, "context_length": 4} | settings)
    return RunSpec.model_validate(
        {"name": "r", "dataset": "d", "model": model, "training": {"validation_fraction": fraction}}
    )


def constant(model, values):
    """A model that always answers the same."""
    with torch.no_grad():
        model.predict_action.weight.zero_()
        model.predict_action.bias.copy_(torch.tensor(values))
    return model.requires_grad_(False)


def test_the_error_of_a_constant_answer_is_its_mean_distance(tmp_path):
    columns, run = data(tmp_path, discrete=False), run_for()
    model = constant(DecisionTransformer.build(run.model, columns.facts, 0), np.arctanh([0.5, -0.25]))
    result = evaluate(SPEC, model, run, columns.facts, columns)
    errors = np.abs(columns.actions[: columns.steps] - [0.5, -0.25])
    assert result["measure"] == "error" and result["steps"] == columns.steps and result["split"] == "training"
    assert result["overall"] == pytest.approx(errors.mean(), rel=1e-5)
    assert result["sentence"].startswith("on episodes seen in training the action is off by")
    means = {row["name"]: row["mean"] for row in result["by_dimension"]}
    assert [means["action 1"], means["action 2"]] == pytest.approx(errors.mean(axis=0), rel=1e-5)
    # windows of four steps tile episodes of 4, 7 and 5 steps: steps 0, 4 have a history of one step
    first = errors.mean(axis=1)[[0, 4, 8, 11, 15]]
    assert result["by_context"][0] == {"position": 1, "n": 5, "mean": pytest.approx(first.mean(), rel=1e-5)}
    by_time = errors.mean(axis=1)[[0, 4, 11]]
    assert result["by_timestep"][0] == {
        "timestep": 0, "until": 0, "n": 3, "mean": pytest.approx(by_time.mean(), rel=1e-5)
    }  # fmt: skip
    assert result["response"]["change"] == pytest.approx(0, abs=1e-6)


def test_the_mismatch_of_a_constant_answer_is_the_share_of_other_actions(tmp_path):
    columns, run = data(tmp_path, discrete=True), run_for()
    model = constant(DecisionTransformer.build(run.model, columns.facts, 0), [0.0, 1.0, 0.0])
    result = evaluate(SPEC, model, run, columns.facts, columns)
    actions = columns.actions[: columns.steps]
    assert result["overall"] == pytest.approx((actions != 1).mean())
    assert result["baseline"] == pytest.approx(1 - np.bincount(actions).max() / len(actions))
    assert np.sum(result["response"]["values"], axis=1) == pytest.approx([1, 1])


def test_the_response_is_what_acting_would_say_to_the_shifted_request(tmp_path):
    columns, run = data(tmp_path, discrete=True), run_for()
    model = DecisionTransformer.build(run.model, columns.facts, 1).requires_grad_(False)
    episode = columns.episode(0)
    returns = np.cumsum(episode.rewards[::-1])[::-1]
    spec = SPEC.model_copy(update={"episodes": 1, "response_steps": 1})
    run = run_for(fraction=0.0)
    chosen, _ = choose_episodes(spec, run, columns.facts, columns)
    assert len(chosen) == 1
    result = evaluate(spec, model, run, columns.facts, columns)
    # the one step that was drawn is one of the episode: one of its windows must give the very answer
    steps_of = columns.episode(int(chosen[0]))
    returns = np.cumsum(steps_of.rewards[::-1])[::-1]
    candidates = []
    for start in range(len(returns)):
        window = slice(start, min(start + 4, len(returns)))
        with torch.inference_mode():
            logits = model.act_logits(
                torch.from_numpy(np.array(steps_of.observations[:-1][window]))[None],
                torch.from_numpy(np.array(steps_of.actions[window]))[None, :-1],
                torch.from_numpy((returns + 1.0 - returns[0])[window].astype(np.float32))[None],
                torch.arange(window.start, window.stop),
            )
        candidates.append(logits.softmax(-1)[0].numpy())
    assert min(np.abs(candidate - result["response"]["values"][1]).max() for candidate in candidates) < 1e-5


def test_with_a_discount_requests_shift_as_they_do_while_acting():
    model, run, facts = actor_for(facts_for("CartPole-v1", max_episode_steps=1200), discount=0.9)
    rewards, targets = np.arange(1200) % 2.0, np.array([0.0, 3.0, 9.0])
    policy = SequencePolicy(model, run.model, facts, seeds=[0] * 3, targets=targets, sampled=np.zeros(3, dtype=bool))
    acting = [policy.returns_to_go]
    for reward in rewards[:-1]:
        policy.observe(np.full(3, reward))
        acting.append(policy.returns_to_go)
    recorded = returns_to_go(rewards, np.array([1200]), 0.9)
    timesteps = np.array([[0, 1, 2], [14, 15, 16], [198, 199, 200], [1197, 1198, 1199]])
    batch = WindowBatch(
        observations=torch.zeros(4, 3, 4),
        actions=torch.zeros(4, 3, dtype=torch.int64),
        returns_to_go=torch.from_numpy(recorded[timesteps]).float(),
        timesteps=torch.from_numpy(timesteps),
        mask=torch.ones(4, 3, dtype=torch.bool),
    )
    changes = np.repeat(targets[:, None] - recorded[0], 4, axis=1)
    for place, asked in enumerate(shifted_requests(batch, changes, facts, 0.9)):
        expected = np.stack(acting)[timesteps, place]
        np.testing.assert_allclose(asked.returns_to_go, expected, rtol=1e-4, atol=1e-4)


def test_models_without_requests_have_no_response(tmp_path):
    columns, run = data(tmp_path, discrete=True), run_for("bc")
    model = BehaviourCloning.build(run.model, columns.facts, 0).requires_grad_(False)
    assert evaluate(SPEC, model, run, columns.facts, columns)["response"] is None


@pytest.mark.parametrize("discrete", [True, False])
def test_a_trajectory_transformer_is_measured_on_its_action_tokens(tmp_path, discrete):
    columns, run = data(tmp_path, discrete), run_for("tt", bins=5)
    model = TrajectoryTransformer.from_columns(run.model, columns, np.arange(3), 0).requires_grad_(False)
    result = evaluate(SPEC, model, run, columns.facts, columns)
    assert result["steps"] == columns.steps and result["response"] is None
    tokens = model.batches(columns, np.arange(3))
    actions = columns.actions[: columns.steps].reshape(columns.steps, -1)
    if discrete:
        assert 0 <= result["overall"] <= 1
    else:  # no answer can be further away than the range of the bins
        values = model.token_values[model.layout.action].numpy()
        assert result["overall"] <= np.abs(actions).max() + np.abs(values).max()
    assert len(tokens) == columns.steps


def test_on_its_own_data_a_run_is_measured_on_the_episodes_kept_out(tmp_path):
    columns, run = data(tmp_path, discrete=True), run_for(fraction=0.4)
    episodes, split = choose_episodes(SPEC, run, columns.facts, columns)
    assert split == "validation" and episodes.tolist() == split_episodes(3, 0.4, run.seed)[1].tolist()


@pytest.mark.parametrize("content", ["other", ""])
def test_nobody_knows_whether_other_data_was_seen_in_training(tmp_path, content):
    """It may be derived from what the run learned from; a run from elsewhere does not say what that was."""
    columns, run = data(tmp_path, discrete=True), run_for(fraction=0.4)
    learned = columns.facts.model_copy(update={"content_hash": content})
    episodes, split = choose_episodes(SPEC, run, learned, columns)
    assert split == "other" and len(episodes) == 3
