import numpy as np
import pytest
import torch

from seqrl import beam_evaluation
from seqrl.beam_evaluation import BeamSweepProgress, beam_cells, beam_sweep
from seqrl.config import (
    BeamSweepSpec,
    DecisionTransformerSpec,
    PlanningSpec,
    ReturnSweepSpec,
    RunSpec,
)
from seqrl.config.planning import check_beam_sweep
from seqrl.environments.noise import episode_seed
from seqrl.evaluation import return_sweep
from seqrl.planning import Beams, PlanningPolicy
from tests.trajectories import discrete, make_columns, make_model

LIMIT = 12


@pytest.fixture(scope="module")
def actor():
    """A Trajectory Transformer with random weights that acts in CartPole, cut off after 12 steps."""
    columns = make_columns(4, discrete(2), environment="CartPole-v1", max_episode_steps=LIMIT, max_length=LIMIT)
    columns.actions[:] %= 2
    columns.observations[:] *= 0.3
    model = make_model(columns, context_length=4)
    return model, RunSpec(name="tt", dataset="d", model=model.spec), columns.facts


def sweep(actor, **changes):
    planning = PlanningSpec(context=2, expansion=2)
    values = {"name": "s", "runs": ("tt",), "widths": (0, 3), "horizons": (2, 3), "episodes": 4, "planning": planning}
    return BeamSweepSpec.model_validate(values | changes)


def measured(actor, spec, **settings):
    return [record for records in beam_sweep(spec, {"tt": actor}, **settings) for record in records]


def test_every_point_has_its_episodes_and_its_time(actor):
    spec = sweep(actor)
    assert [tuple(cell)[1:] for cell in beam_cells(spec)] == [(0, 0), (3, 2), (3, 3)]
    progress: list[BeamSweepProgress] = []
    cells = list(beam_sweep(spec, {"tt": actor}, on_progress=progress.append))
    assert [len(records) for records in cells] == [4, 4, 4]
    for records, (width, horizon) in zip(cells, spec.cells(), strict=True):
        assert [record.episode for record in records] == [0, 1, 2, 3]
        for record in records:
            assert (record.cell["width"], record.cell["horizon"]) == (width, horizon)
            assert record.cell["seconds_per_decision"] > 0
            assert record.decoding == ("planned" if width else "sampled")
            assert record.terminated != record.truncated
            assert record.truncated == (record.length == LIMIT)
            assert record.action_probabilities.shape == (record.length, 2)
    shares = [step.fraction for step in progress]
    assert shares == sorted(shares)
    assert 0.7 < shares[-1] <= 1.0


def test_bug_13_episodes_are_seeded_and_independent_of_those_beside_them(actor):
    """The notebook's evaluation is unseeded."""
    spec = sweep(actor)
    first, again = measured(actor, spec), measured(actor, spec)
    assert [record.seed for record in first[:4]] == [episode_seed(0, episode) for episode in range(4)]
    alone = [record for record in measured(actor, sweep(actor, episodes=2))]
    for one, other in zip(first, again, strict=True):
        assert (one.actions == other.actions).all()
        assert (one.action_probabilities == other.action_probabilities).all()
    for one in alone:
        twin = next(
            r for r in first if (r.episode, r.cell["width"], r.cell["horizon"]) == (one.episode, *one.cell.values())[:3]
        )
        assert one.seed == twin.seed
        assert (one.actions == twin.actions).all()
    other_seed = measured(actor, sweep(actor, seed=1))
    assert {record.seed for record in other_seed}.isdisjoint({record.seed for record in first})


def test_bug_12_finished_environments_are_neither_stepped_nor_planned_for(actor, monkeypatch):
    """The notebook goes on stepping the finished environments of its vector."""
    stepped, planned = [], []
    make_vector = beam_evaluation.make_vector

    def counting(*arguments, **settings):
        vector = make_vector(*arguments, **settings)
        step = vector.step
        vector.step = lambda actions: stepped.append(len(actions)) or step(actions)
        return vector

    act = beam_evaluation.PlanningPolicy.act
    monkeypatch.setattr(beam_evaluation, "make_vector", counting)
    monkeypatch.setattr(
        beam_evaluation.PlanningPolicy, "act", lambda self, seen: planned.append(len(seen)) or act(self, seen)
    )
    records = measured(actor, sweep(actor, widths=(2,), horizons=(2,), episodes=6, planning=PlanningSpec(context=2)))
    lengths = np.array([record.length for record in records])
    assert lengths.min() < lengths.max()
    running = [int((lengths > step).sum()) for step in range(lengths.max())]
    assert stepped == running
    assert planned == running


def test_the_plans_of_recorded_episodes_are_kept(actor):
    spec = sweep(actor, widths=(6,), horizons=(3,), recorded_beams=4, recorded_episodes=2)
    records = measured(actor, spec)
    for record in records:
        assert {"predicted_reward", "predicted_value", "predicted_return"} <= set(record.extra)
        assert ("plan_tokens" in record.extra) == (record.episode < 2)
    steps, plans = records[0].length, records[0].extra
    tokens = len(actor[0].layout)
    shapes = {
        "plan_age": (steps,),
        "plan_scores": (steps, 4),
        "plan_returns": (steps, 4),
        "plan_rewards": (steps, 4, 3),
        "plan_values": (steps, 4, 3),
        "plan_ends": (steps, 4, 3),
        "plan_tokens": (steps, 4, 3, tokens),
        "plan_observations": (steps, 4, 3, 4),
        "plan_actions": (steps, 4, 3),
    }
    assert {name: plans[name].shape for name in shapes} == shapes
    assert (np.diff(plans["plan_scores"], axis=1) <= 0).all()
    assert (plans["plan_actions"][:, 0, 0] == records[0].actions).all()  # the best plan is what was done


def test_a_plan_is_carried_out_for_several_steps(actor):
    planning = PlanningSpec(context=2, plan_every=3, horizon=4)
    spec = sweep(actor, widths=(4,), horizons=(4,), episodes=1, planning=planning)
    record = measured(actor, spec)[0]
    ages = record.extra["plan_age"]
    assert ages.tolist() == [step % 3 for step in range(record.length)]
    best = record.extra["plan_actions"][:, 0]
    assert (record.actions == best[np.arange(record.length), ages]).all()
    assert (best[1] == best[0]).all()
    returns, rewards = record.extra["plan_returns"][:, 0], record.extra["plan_rewards"][:, 0]
    ends = record.extra["plan_ends"][:, 0]
    for step, age in enumerate(ages):
        alive = [np.prod(1 - ends[step, :past]) for past in range(age + 1)]
        ahead = (returns[step] - alive[:-1] @ rewards[step, :age]) / alive[-1]
        assert record.extra["predicted_return"][step] == pytest.approx(ahead, rel=1e-4)


def test_a_step_that_was_reached_is_predicted_as_one_that_was_reached(actor):
    """Rewards of 1, of which half would not be earned: 1 + 0.5 + 0.5 at first, and 1 at the last step."""
    model = actor[0]
    policy = PlanningPolicy(model, PlanningSpec(context=2, plan_every=3, horizon=3), seeds=[0])
    values = {name: torch.ones(1, 1, dtype=torch.float64) for name in ("discounted", "alive", "scores")}
    policy.planner.plan = lambda *question: Beams(
        tokens=torch.zeros(1, 1, 3, len(model.layout), dtype=torch.int64),
        rewards=torch.ones(1, 1, 3, dtype=torch.float64),
        values=torch.zeros(1, 1, 3, dtype=torch.float64),
        ends=torch.tensor([[[0.5, 0.0, 0.0]]], dtype=torch.float64),
        undiscounted=torch.tensor([[2.0]], dtype=torch.float64),
        returns=torch.tensor([[2.0]], dtype=torch.float64),
        **values,
    )
    predicted = []
    for _ in range(3):
        predicted.append(float(policy.act(np.zeros((1, 4), dtype=np.float32)).imagined["predicted_return"][0]))
        policy.observe(np.ones(1))
    assert predicted == pytest.approx([2.0, 2.0, 1.0])


def test_measured_points_are_skipped_and_a_stop_drops_the_unfinished_one(actor):
    spec = sweep(actor)
    rest = measured(actor, spec, done={("tt", 0, 0), ("tt", 3, 2)})
    assert {(record.cell["width"], record.cell["horizon"]) for record in rest} == {(3, 3)}
    calls = iter([False] * 5 + [True] * 1000)
    assert measured(actor, spec, should_stop=lambda: next(calls)) == []


def test_only_trajectory_transformers_plan():
    run = RunSpec(name="dt", dataset="d", model=DecisionTransformerSpec())
    spec = BeamSweepSpec(name="s", runs=("dt",))
    with pytest.raises(ValueError, match="the run dt is a dt and cannot plan; choose a Trajectory Transformer"):
        check_beam_sweep(spec, {"dt": run})


def test_a_return_sweep_asks_a_trajectory_transformer_too(actor):
    planning = PlanningSpec(beam_width=4, horizon=2, context=2)
    spec = ReturnSweepSpec(name="s", runs=("tt",), targets=(2.0, 9.0), episodes=3, planning=planning)
    records = [record for records in return_sweep(spec, {"tt": actor}) for record in records]
    assert {(record.decoding, record.target) for record in records} == {("sampled", 2.0), ("sampled", 9.0)}
    for record in records:
        left = record.target - np.concatenate([[0], np.cumsum(record.rewards)[:-1]])
        np.testing.assert_allclose(record.returns_to_go, left)
