"""A sweep is its episodes: each the same alone, in any batch, after a stop; each replayable."""

import math

import numpy as np
import pytest
import torch

from seqrl.config import ReturnSweepSpec
from seqrl.environments import make_vector
from seqrl.environments.noise import episode_seed
from seqrl.evaluation import Cell, Plan, acting_precision, measure_plans, play, return_sweep, sweep_cells, sweeps
from seqrl.rendering import Replay
from tests.acting import actor_for, facts_for

ARRAYS = ("actions", "rewards", "returns_to_go", "action_probabilities")


def sweep_of(**changes) -> ReturnSweepSpec:
    values = {
        "name": "s",
        "runs": ("dt",),
        "targets": (5.0, 30.0, 90.0),
        "episodes": 4,
        "decodings": ("sampled", "greedy"),
    }
    return ReturnSweepSpec(**values | changes)


def same(one, other) -> bool:
    facts = ("run", "decoding", "target", "episode", "seed", "terminated", "truncated")
    return all(getattr(one, name) == getattr(other, name) for name in facts) and all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in ARRAYS
    )


def by_name(cells):
    return {(r.run, r.decoding, r.target, r.episode): r for records in cells for r in records}


@pytest.fixture(scope="module")
def cartpole():
    return actor_for(facts_for("CartPole-v1"))


@pytest.fixture(scope="module")
def measured(cartpole):
    return list(return_sweep(sweep_of(), {"dt": cartpole}))


@pytest.mark.parametrize(("acting", "precision"), [("cached", "fp32"), ("window", "fp32"), ("cached", "bf16")])
def test_every_episode_of_a_sweep_equals_the_same_episode_alone_bit_for_bit(cartpole, acting, precision):
    spec = sweep_of(acting=acting, precision=precision)
    together = by_name(return_sweep(spec, {"dt": cartpole}))
    assert len(together) == 24
    for key, record in together.items():
        plan = Plan(Cell(*key[:3]), key[3], spec.seed)
        vector = make_vector("CartPole-v1")
        (alone,), *more = play(cartpole, [plan], vector, acting=acting, precision=precision)
        assert not more
        assert same(alone, record)
    assert len({record.length for record in together.values()}) > 5
    assert max(record.length for record in together.values()) > cartpole.spec.model.context_length


@pytest.mark.parametrize("largest", [3, 8, 16])
def test_the_size_of_the_chunks_makes_no_difference(cartpole, measured, monkeypatch, largest):
    monkeypatch.setattr(sweeps, "LARGEST_CHUNK", largest)
    chunked = by_name(return_sweep(sweep_of(), {"dt": cartpole}))
    assert all(same(chunked[key], record) for key, record in by_name(measured).items())


def test_half_precision_says_nearly_the_same(cartpole, measured):
    exact = by_name(measured)
    half = by_name(return_sweep(sweep_of(precision="bf16"), {"dt": cartpole}))
    for key, record in half.items():
        assert np.allclose(record.action_probabilities[0], exact[key].action_probabilities[0], atol=0.02)
        assert not np.array_equal(record.action_probabilities[0], exact[key].action_probabilities[0])

    kept = by_name(return_sweep(sweep_of(precision="fp32"), {"dt": cartpole}, precisions={"dt": "bf16"}))
    assert all(same(kept[key], record) for key, record in half.items())


def test_auto_precision_keeps_narrow_models_exact(cartpole):
    wide = actor_for(facts_for("CartPole-v1"), embedding_dim=128)
    fast = sweeps.choose_precision("auto", torch.device("cpu"))
    assert acting_precision(sweep_of(), cartpole) == "fp32"
    assert acting_precision(sweep_of(), wide) == fast
    assert acting_precision(sweep_of(precision="bf16"), cartpole) == "bf16"
    assert acting_precision(sweep_of(precision="fp32"), wide) == "fp32"


def test_two_threads_play_the_same_episodes(cartpole, measured):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = by_name([next(return_sweep(sweep_of(), {"dt": cartpole}))])
    finally:
        torch.set_num_threads(threads)
    assert len(again) == 4
    assert all(same(by_name(measured)[key], record) for key, record in again.items())


def test_a_sweep_is_fixed_by_its_seed(cartpole, measured):
    """Peers' bug 13: evaluation without a seed."""
    np.random.seed(1)
    torch.manual_seed(1)
    again = by_name(return_sweep(sweep_of(), {"dt": cartpole}))
    assert all(same(again[key], record) for key, record in by_name(measured).items())
    other = by_name(return_sweep(sweep_of(seed=1), {"dt": cartpole}))
    assert not any(same(other[key], record) for key, record in by_name(measured).items())


def test_comparisons_are_paired(measured):
    seeds = {(record.episode, record.seed) for records in measured for record in records}
    assert seeds == {(i, episode_seed(0, i)) for i in range(4)}
    assert len({seed for _, seed in seeds}) == 4


class CountingVector:
    """Passes everything on to a real vector, and notes what it was asked to step."""

    def __init__(self):
        self.vector = make_vector("CartPole-v1")
        self.stepped = 0
        self.ended = np.zeros(0, dtype=bool)

    def reset(self, seeds):
        self.ended = np.zeros(len(seeds), dtype=bool)
        return self.vector.reset(seeds)

    def step(self, actions):
        assert not self.ended.any()
        steps = self.vector.step(actions)
        self.stepped += len(actions)
        self.ended = steps.terminated | steps.truncated
        return steps

    def keep(self, running):
        self.ended = self.ended[running]
        self.vector.keep(running)


def test_finished_episodes_are_never_stepped_again(cartpole):
    """Peers' bug 12: finished environments of the vector keep being stepped."""
    vector = CountingVector()
    plans = [Plan(Cell("dt", "sampled", 40.0), episode, 0) for episode in range(20)]
    records = [record for ended in play(cartpole, plans, vector) for record in ended]
    assert len(records) == 20
    assert vector.stepped == sum(record.length for record in records)
    assert len({record.length for record in records}) > 3


def test_a_record_holds_what_happened(measured):
    for records in measured:
        for record in records:
            paid_before = np.concatenate([[0], np.cumsum(record.rewards)[:-1]])
            assert np.array_equal(record.returns_to_go, record.target - paid_before)
            assert record.terminated or record.truncated
            assert np.allclose(record.action_probabilities.sum(axis=1), 1, atol=1e-6)
            likely = record.action_probabilities.argmax(axis=1)
            if record.decoding == "greedy":
                assert np.array_equal(record.actions, likely)
    drawn = [record for records in measured for record in records if record.decoding == "sampled"]
    assert any((r.actions != r.action_probabilities.argmax(axis=1)).any() for r in drawn)


def test_every_episode_can_be_replayed(cartpole, measured):
    for record in (measured[0][0], measured[-1][-1]):
        assert len(Replay(record, cartpole.facts, render_mode=None).observations()) == record.length + 1


def test_points_come_one_by_one_each_with_all_its_episodes(measured):
    cells = [{Cell(r.run, r.decoding, r.target) for r in records} for records in measured]
    assert all(len(cell) == 1 for cell in cells)
    assert len(set.union(*cells)) == len(measured) == 6
    assert all([r.episode for r in records] == [0, 1, 2, 3] for records in measured)
    assert next(iter(cells[0])) == Cell("dt", "sampled", 5.0)


def test_the_first_point_does_not_wait_for_the_others(cartpole):
    seen = []
    sweep = return_sweep(sweep_of(episodes=3), {"dt": cartpole}, on_progress=seen.append)
    first = next(sweep)
    assert seen[-1].steps == sum(record.length for record in first)


def test_progress_rises_to_one(cartpole):
    seen = []
    records = [r for cell in return_sweep(sweep_of(), {"dt": cartpole}, on_progress=seen.append) for r in cell]
    fractions = [progress.fraction for progress in seen]
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert fractions[-1] > 0.9
    assert seen[-1].steps == sum(record.length for record in records)


def test_a_stopped_sweep_goes_on_where_it_was(cartpole, measured):
    whole = by_name(measured)
    first = []
    for cell in return_sweep(sweep_of(), {"dt": cartpole}, should_stop=lambda: len(first) >= 2):
        first.append(cell)
    assert 2 <= len(first) < 6
    done = {(records[0].run, records[0].decoding, records[0].target) for records in first}
    progress = []
    rest = list(return_sweep(sweep_of(), {"dt": cartpole}, done=done, on_progress=progress.append))
    resumed = by_name([*first, *rest])
    assert progress[0].fraction >= len(first) / 6
    assert len(first) + len(rest) == 6
    assert resumed.keys() == whole.keys()
    assert all(same(resumed[key], record) for key, record in whole.items())


def test_stop_is_asked_before_every_step(cartpole):
    asked = []
    assert (
        list(return_sweep(sweep_of(), {"dt": cartpole}, should_stop=lambda: len(asked) >= 3 or asked.append(0))) == []
    )
    assert len(asked) == 3


def test_behaviour_cloning_is_measured_once_for_each_decoding():
    actor = actor_for(facts_for("CartPole-v1"), "bc", kind="bc")
    cells = list(return_sweep(sweep_of(runs=("bc",)), {"bc": actor}))
    assert [Cell(c[0].run, c[0].decoding, c[0].target) for c in cells] == [
        ("bc", "sampled", None),
        ("bc", "greedy", None),
    ]
    assert all(np.isnan(record.returns_to_go).all() for cell in cells for record in cell)
    assert (
        list(
            return_sweep(
                sweep_of(runs=("bc",)), {"bc": actor}, done={("bc", "sampled", math.nan), ("bc", "greedy", None)}
            )
        )
        == []
    )


def test_several_runs_share_a_sweep(cartpole):
    actors = {"bc": actor_for(facts_for("CartPole-v1"), "bc", kind="bc"), "dt": cartpole}
    cells = list(return_sweep(sweep_of(runs=("bc", "dt")), actors))
    assert [records[0].run for records in cells] == ["bc"] * 2 + ["dt"] * 6


def test_a_tanh_head_is_measured_greedily_only_and_a_gaussian_one_both_ways():
    facts = facts_for("Pendulum-v1", max_episode_steps=12, reward_minimum=-17.0, reward_maximum=0.0)
    spec = sweep_of(targets=(-80.0, -5.0))
    tanh = actor_for(facts, sharpness=3)
    gaussian = actor_for(facts, sharpness=3, action_head="gaussian")
    runs = {"dt": (tanh.spec, facts)}
    assert {cell.decoding for cell in sweep_cells(spec, runs)} == {"greedy"}
    fixed = [r for cell in return_sweep(spec, {"dt": tanh}) for r in cell]
    assert len(fixed) == 8
    drawn = [r for cell in return_sweep(spec, {"dt": gaussian}) for r in cell]
    assert len(drawn) == 16
    for record in (*fixed, *drawn):
        assert record.length == 12
        assert record.truncated
        assert not record.terminated
        mean, spread = record.action_probabilities[:, 0], record.action_probabilities[:, 1]
        assert (np.abs(record.actions) <= 2).all()
        if record.decoding == "greedy":
            assert np.allclose(record.actions, np.clip(mean, -2, 2))
        else:
            assert (np.abs(record.actions - mean) > 1e-3 * spread).any()
    assert len(Replay(drawn[0], facts, render_mode=None).observations()) == 13


def test_discounted_targets_are_measured_in_their_own_unit():
    actor = actor_for(facts_for("CartPole-v1"), discount=0.9)
    with pytest.raises(ValueError, match=r"target 30 is out of reach of dt: with discount 0.9 .* from 0 to 10"):
        next(return_sweep(sweep_of(), {"dt": actor}))
    cells = list(return_sweep(sweep_of(targets=(8.0,)), {"dt": actor}))
    for record in (r for cell in cells for r in cell):
        assert record.cell["discounted_return"] == pytest.approx((1 - 0.9**record.length) / (1 - 0.9))


def test_who_takes_no_target_is_compared_in_the_unit_of_those_who_do():
    facts = facts_for("CartPole-v1")
    cloned = actor_for(facts, "bc", kind="bc")
    models = {"dt": actor_for(facts, discount=0.9), "bc": cloned}
    cells = list(return_sweep(sweep_of(runs=("dt", "bc"), targets=(8.0,)), models))
    for record in (r for cell in cells for r in cell):
        assert record.cell["discounted_return"] == pytest.approx((1 - 0.9**record.length) / (1 - 0.9))
    plans = [Plan(Cell("bc", "greedy", None), 0, 0)]
    assert "discounted_return" in measure_plans(sweep_of(runs=("bc",)), cloned, plans, 0.9)[0].cell
    assert "discounted_return" not in measure_plans(sweep_of(runs=("bc",)), cloned, plans)[0].cell


def test_an_environment_without_a_limit_ends_where_the_data_ends():
    facts = facts_for("CartPole-v1", max_episode_steps=None, max_length=9)
    facts = facts.model_copy(update={"max_episode_steps": None, "max_length": 9})
    cells = list(return_sweep(sweep_of(), {"dt": actor_for(facts)}))
    lengths = [record.length for cell in cells for record in cell]
    assert max(lengths) == 9
    longest = next(record for cell in cells for record in cell if record.length == 9)
    assert len(Replay(longest, facts, render_mode=None).observations()) == 10


def chooser(environment="CartPole-v1"):
    """A Decision Transformer whose return head, of random weights, was made to have opinions."""
    actor = actor_for(facts_for(environment), return_head="bins")
    actor.model.return_head.set_span(0.0, 99.0)
    with torch.no_grad():
        actor.model.return_head.predict.weight.mul_(100)
    return actor


def test_a_model_that_chooses_is_one_more_cell_and_asks_anew_at_every_step(measured):
    spec, actor = sweep_of(model_chooses=True, optimism=3.0), chooser()
    cells = list(return_sweep(spec, {"dt": actor}))
    assert [(records[0].decoding, records[0].target) for records in cells].count(("sampled", None)) == 1
    assert len(cells) == 8
    for record in (record for records in cells for record in records):
        assert ("chosen_return" in record.cell) == (record.target is None)
        if record.target is None:
            observations = Replay(record, actor.facts, render_mode=None).observations()
            said = [
                float(actor.model.choose_return(torch.from_numpy(seen[None]), t, 3.0)[0])
                for t, seen in enumerate(observations[:-1])
            ]
            assert record.returns_to_go.tolist() == said
            assert record.cell["chosen_return"] == said[0]
    chosen = [r for records in cells for r in records if r.target is None]
    assert len({value for record in chosen for value in record.returns_to_go}) > 3


def test_cells_of_a_choice_that_are_measured_are_not_measured_again():
    spec, actor = sweep_of(model_chooses=True), chooser()
    done = [("dt", "sampled", None), ("dt", "greedy", math.nan)]
    assert all(records[0].target is not None for records in return_sweep(spec, {"dt": actor}, done=done))


def test_a_choice_is_refused_where_no_run_can_choose(cartpole):
    with pytest.raises(ValueError, match="train a Decision Transformer with return_head bins"):
        list(return_sweep(sweep_of(model_chooses=True), {"dt": cartpole}))


def test_rvs_is_asked_like_a_decision_transformer():
    actor = actor_for(facts_for("CartPole-v1"), kind="rvs", heads=None, context_length=None)
    records = by_name(return_sweep(sweep_of(), {"dt": actor}))
    windowed = by_name(return_sweep(sweep_of(acting="window"), {"dt": actor}))
    assert len(records) == 24
    assert all(same(windowed[key], record) for key, record in records.items())
    asked = {key[2]: tuple(record.actions[:3]) for key, record in records.items() if key[1] == "greedy"}
    assert len(set(asked.values())) > 1
