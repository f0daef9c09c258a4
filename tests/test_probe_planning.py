"""A Trajectory Transformer is asked about the tokens that it saw, and continued from where it was."""

import dataclasses

import numpy as np
import pytest

from seqrl.beam_evaluation import beam_sweep
from seqrl.config import BeamSweepSpec, Origin, PlanningSpec, RunSpec, ScheduleSweepSpec, TargetChange
from seqrl.evaluation import Actor, schedule_sweep
from seqrl.probe import EpisodeProbe, History, Loaded, TokenProbe
from tests.trajectories import box, discrete, make_columns, make_model

LIMIT = 12


@pytest.fixture(scope="module")
def actor():
    """A Trajectory Transformer with random weights that acts in CartPole, cut off after 12 steps."""
    columns = make_columns(4, discrete(2), environment="CartPole-v1", max_episode_steps=LIMIT, max_length=LIMIT)
    columns.actions[:] %= 2
    columns.observations[:] *= 0.3
    model = make_model(columns, context_length=4)
    return Actor(model, RunSpec(name="tt", dataset="d", model=model.spec), columns.facts)


@pytest.fixture(scope="module")
def spec():
    planning = PlanningSpec(context=3, expansion=2)
    return BeamSweepSpec(name="s", runs=("tt",), widths=(3,), horizons=(2,), episodes=4, planning=planning)


@pytest.fixture(scope="module")
def record(actor, spec):
    return max(next(beam_sweep(spec, {"tt": actor})), key=lambda record: record.length)


@pytest.mark.parametrize("step", [0, 1, 5])
def test_what_it_sees_is_answered_as_it_was_and_a_token_decides(actor, spec, record, step):
    probe = TokenProbe(*actor, spec.planning)
    history = History.of(record, actor.facts)
    name = actor.facts.observation.names[1]
    seen = history.observations[step, 1]
    curve = probe.response_to_observation(history, step, name, [seen, seen + 1e-6, seen + 2])
    assert np.allclose(curve.probabilities[0], record.action_probabilities[step], atol=1e-5)
    assert np.allclose(curve.probabilities[0], curve.probabilities[1]), "the same bin is the same sight"
    changed = history.observations.copy()
    changed[step, 1] += 2
    again = probe.response_to_observation(
        dataclasses.replace(history, observations=changed), step, name, [changed[step, 1]]
    )
    assert np.allclose(curve.probabilities[2], again.probabilities[0], atol=1e-6)


@pytest.mark.parametrize("step", [0, 1, 6])
def test_attention_names_every_token_by_its_dimension(actor, spec, record, step):
    probe = TokenProbe(*actor, spec.planning)
    seen = probe.attention(History.of(record, actor.facts), step)
    transition = [*actor.facts.observation.names, "action", "reward"]
    before = min(step, 2)
    assert list(seen.names) == transition * before + list(actor.facts.observation.names)
    assert list(seen.kinds) == list("ssssar") * before + list("ssss")
    assert list(seen.timesteps[[0, -1]]) == [step - before, step]
    layers, heads, queries, tokens = seen.weights.shape
    assert (layers, heads, queries) == (2, 2, tokens)
    assert np.allclose(seen.weights.sum(-1), 1, atol=1e-5)
    assert (np.triu(seen.weights[0, 0], 1) == 0).all()


def test_continuous_actions_have_the_mean_of_their_bins():
    columns = make_columns(3, box(2), environment="Pendulum-v1")
    model = make_model(columns)
    probe = TokenProbe(model, RunSpec(name="tt", dataset="d", model=model.spec), columns.facts, PlanningSpec(context=3))
    history = History(columns.observations[:9], columns.actions[:9], np.full(9, np.nan), columns.rewards[:9])
    curve = probe.response_to_observation(history, 8, "s1", [-1.0, 0.0, 1.0])
    assert (curve.mean.shape, curve.names) == ((3, 1), ("a0",))
    centres = model.tokenizer().bins.values[model.layout.action.start]
    assert centres.min() <= curve.mean.min() and curve.mean.max() <= centres.max()
    assert (curve.std > 0).all()


def test_an_episode_is_asked_as_its_sweep_says(actor, spec, record):
    probe = EpisodeProbe(Loaded(*actor), History.of(record, actor.facts), spec)
    assert (probe.conditioned, probe.length) == (False, record.length)
    assert len(probe.attention(5).names) == 2 * 6 + 4
    with pytest.raises(ValueError, match="is not told a return; vary a dimension of what it sees"):
        probe.to_targets(5, [1.0])
    with pytest.raises(ValueError, match=f"step is {record.length} but the episode has steps 0 to"):
        probe.attention(record.length)


@pytest.mark.parametrize(("width", "horizon", "before"), [(3, 3, 1), (3, 1, 3), (0, 0, 3)])
def test_attention_is_to_what_the_plan_of_the_episode_started_from(actor, width, horizon, before):
    planning = PlanningSpec(context=4, expansion=2)
    widths, horizons = (width,), (max(horizon, 1),)
    spec = BeamSweepSpec(name="s", runs=("tt",), widths=widths, horizons=horizons, episodes=4, planning=planning)
    played = max(next(beam_sweep(spec, {"tt": actor})), key=lambda record: record.length)
    probe = EpisodeProbe(Loaded(*actor), History.of(played, actor.facts), spec, played.cell)
    assert len(probe.attention(5).names) == 6 * before + 4
    seen, name = probe.history.observations[5, 1], actor.facts.observation.names[1]
    answered = probe.to_observation(5, name, [seen]).probabilities[0]
    assert np.allclose(answered, played.action_probabilities[5], atol=1e-5)


def test_a_plan_is_continued_and_the_unchanged_one_is_the_episode_again(actor, spec, record):
    origin = Origin(sweep="s", episode_id=0, step=4)
    asked = ScheduleSweepSpec(
        name="w",
        runs=("tt",),
        schedules=((TargetChange(step=4, target=-3.0),),),
        origin=origin,
        episodes=1,
        planning=spec.cell_planning(3, 2),
    )
    (constant,), (changed,) = schedule_sweep(asked, actor, record)
    assert np.array_equal(constant.actions, record.actions)
    assert np.array_equal(constant.rewards, record.rewards)
    assert np.array_equal(changed.actions[:4], record.actions[:4])
    assert changed.returns_to_go[4] == -3.0 - record.rewards[:4].sum()
    assert changed.cell["schedule"] == "best plan, from step 4: -3"
