"""Targets that change on the way: the constant one is the recorded episode, others follow the response curve."""

import dataclasses

import numpy as np
import pytest

from seqrl.config import (
    Origin,
    ReturnSweepSpec,
    ScheduleSweepSpec,
    TargetChange,
    check_schedule_sweep,
    parse_schedule,
    schedule_text,
)
from seqrl.environments.replay import NotTheRecordedEpisode
from seqrl.evaluation import return_sweep, schedule_sweep
from seqrl.probe import History, Probe
from seqrl.rendering import Replay
from tests.acting import actor_for, facts_for

ARRAYS = ("actions", "rewards", "returns_to_go", "action_probabilities")


def equal(one, other, steps=None):
    return all(
        np.array_equal(getattr(one, name)[:steps], getattr(other, name)[:steps], equal_nan=True) for name in ARRAYS
    )


def spec_of(**changes):
    values = {"name": "w", "runs": ("dt",), "target": 30.0, "schedules": (parse_schedule("6:90"),), "episodes": 3}
    return ScheduleSweepSpec.model_validate(values | changes)


def played(actor, spec, origin=None, **more):
    return {records[0].cell["schedule"]: records for records in schedule_sweep(spec, actor, origin, **more)}


@pytest.fixture(scope="module")
def cartpole():
    return actor_for(facts_for("CartPole-v1"))


@pytest.fixture(scope="module")
def recorded(cartpole):
    spec = ReturnSweepSpec(name="s", runs=("dt",), targets=(30.0,), episodes=8, decodings=("sampled",))
    return max(next(return_sweep(spec, {"dt": cartpole})), key=lambda record: record.length)


def test_a_constant_schedule_is_an_episode_of_a_return_sweep(cartpole):
    sweep = ReturnSweepSpec(name="s", runs=("dt",), targets=(30.0,), episodes=3, decodings=("sampled",))
    constant = played(cartpole, spec_of())["30"]
    for record, other in zip(constant, next(return_sweep(sweep, {"dt": cartpole})), strict=True):
        assert equal(record, other)
        assert (record.seed, record.target) == (other.seed, 30.0)


def test_from_the_change_on_the_rest_of_the_new_target_is_asked_for(cartpole):
    result = played(cartpole, spec_of())
    assert list(result) == ["30", "30, from step 6: 90"]
    for constant, changed in zip(*result.values(), strict=True):
        assert equal(constant, changed, steps=6)
        collected = np.concatenate([[0], np.cumsum(changed.rewards)[:-1]])
        assert np.array_equal(changed.returns_to_go, np.where(collected < 6, 30, 90) - collected)
        assert changed.target == 90


def test_with_a_discount_the_new_request_is_in_the_units_of_the_data():
    actor = actor_for(facts_for("CartPole-v1"), discount=0.9)
    spec = spec_of(target=4.0, schedules=(parse_schedule("3:9"),), episodes=1)
    record = played(actor, spec)["4, from step 3: 9"][0]
    assert record.returns_to_go[3] == pytest.approx((9 - (1 + 0.9 + 0.81)) / 0.9**3)


@pytest.mark.parametrize("step", [0, 4, 9])
def test_a_continued_episode_with_its_own_target_is_that_episode_again_bit_for_bit(cartpole, recorded, step):
    origin = Origin(sweep="s", episode_id=0, step=step)
    spec = spec_of(origin=origin, schedules=((TargetChange(step=step, target=80.0),),), remembered="rewritten")
    constant, changed = played(cartpole, spec, recorded).values()
    assert equal(constant[0], recorded)
    assert constant[0].cell["from_step"] == step
    for record in (*constant, *changed):
        assert record.seed == recorded.seed
        assert np.array_equal(record.actions[:step], recorded.actions[:step])
        assert len(list(Replay(record, cartpole.facts, render_mode=None).observations())) == record.length + 1
    lengths = {tuple(record.actions) for record in constant}
    assert len(lengths) > 1, "further continuations draw with other noise"


@pytest.mark.parametrize("acting", ["cached", "window"])
def test_what_if_begins_with_the_answer_of_the_response_curve(acting):
    actor = actor_for(facts_for("CartPole-v1", max_episode_steps=30), sharpness=8)
    sweep = ReturnSweepSpec(name="s", runs=("dt",), targets=(30.0,), episodes=8, decodings=("sampled",), acting=acting)
    record = max(next(return_sweep(sweep, {"dt": actor})), key=lambda record: record.length)
    history = History.of(record, actor.facts)
    errors, differences = [], []
    for step in (3, 7, 12):
        values = {"origin": Origin(sweep="s", episode_id=0, step=step), "acting": acting, "episodes": 1}
        values["schedules"] = ((TargetChange(step=step, target=75.0),),)
        said = []
        for remembered in ("kept", "rewritten"):
            *_, (changed,) = played(actor, spec_of(remembered=remembered, **values), record).values()
            said.append(changed.action_probabilities[step])
        curve = Probe(*actor).response_curve(history, step, [75.0 - step], acting=acting)
        errors.append(np.abs(said[1] - curve.probabilities[0]).max())
        differences.append(np.abs(said[0] - curve.probabilities[0]).max())
    assert max(errors) < 1e-6
    assert max(differences) > 2e-5, "requests that are kept would otherwise say the same"


def test_continuous_actions_are_continued_too():
    facts = facts_for("Pendulum-v1", max_episode_steps=12, reward_minimum=-17.0, reward_maximum=0.0)
    actor = actor_for(facts, action_head="gaussian")
    sweep = ReturnSweepSpec(name="s", runs=("dt",), targets=(-40.0,), episodes=1, decodings=("sampled",))
    (record,) = next(return_sweep(sweep, {"dt": actor}))
    origin = Origin(sweep="s", episode_id=0, step=5)
    spec = spec_of(origin=origin, target=-40.0, schedules=((TargetChange(step=5, target=-5.0),),), episodes=1)
    constant, changed = played(actor, spec, record).values()
    assert equal(constant[0], record)
    assert equal(changed[0], record, steps=5)
    assert not np.array_equal(changed[0].actions, record.actions)


def test_a_beginning_that_cannot_be_played_again_is_refused(cartpole, recorded):
    wrong = dataclasses.replace(recorded, rewards=recorded.rewards + 1)
    spec = spec_of(origin=Origin(sweep="s", episode_id=0, step=6))
    with pytest.raises(NotTheRecordedEpisode, match=r"at step 0 the reward is 1\.0, recorded was 2\.0"):
        played(cartpole, spec, wrong)


def test_played_schedules_are_not_played_again_and_a_stop_drops_the_one_at_work(cartpole):
    assert list(played(cartpole, spec_of(), done={"30"})) == ["30, from step 6: 90"]
    assert played(cartpole, spec_of(), should_stop=lambda: True) == {}


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        ("bc", {}, "takes no target; choose a run that listens"),
        ("dt", {"target": None}, "target is missing and dt cannot choose one itself"),
        ("dt", {"schedules": (parse_schedule("900:5"),)}, "step is 900 but episodes end at 500 steps"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(kind, changes, sentence):
    actor = actor_for(facts_for("CartPole-v1"), kind=kind)
    with pytest.raises(ValueError, match=sentence):
        check_schedule_sweep(spec_of(**changes), {"dt": (actor.spec, actor.facts)})


def test_schedules_in_words_and_back():
    schedule = parse_schedule("0:100, 120:400")
    assert schedule_text(50.0, schedule) == "100, from step 120: 400"
    assert schedule_text(50.0, ()) == "50"
    for text, sentence in (("", "schedule is empty"), ("5", "'5' is no step:target"), ("a:1", "'a:1' is no")):
        with pytest.raises(ValueError, match=sentence):
            parse_schedule(text)
    with pytest.raises(ValueError, match="give each step once, in order"):
        spec_of(schedules=(parse_schedule("9:1, 3:2"),))
    with pytest.raises(ValueError, match="the first 9 steps are played as recorded"):
        spec_of(origin=Origin(sweep="s", episode_id=0, step=9))
