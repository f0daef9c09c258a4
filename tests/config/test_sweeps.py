"""A sweep that its runs cannot be asked for is refused in one sentence, before anything is computed."""

import doctest

import pytest

from seqrl.config import (
    BehaviourCloningSpec,
    DatasetFacts,
    DecisionTransformerSpec,
    ReturnSummary,
    ReturnSweepSpec,
    RunSpec,
    RvsSpec,
    SpaceFacts,
    TrajectoryTransformerSpec,
    check_return_sweep,
    offered_decodings,
    sweeps,
)

DISCRETE = SpaceFacts(kind="discrete", size=1, shape=(), names=("action",), categories=(2,))
BOX = SpaceFacts(kind="box", size=1, shape=(1,), names=("force",), low=(-1.0,), high=(1.0,))
OPEN_BOX = SpaceFacts(kind="box", size=1, shape=(1,), names=("force",), low=(None,), high=(1.0,))


def facts_with(action: SpaceFacts, reward_minimum: float = 0.0) -> DatasetFacts:
    return DatasetFacts(
        environment="CartPole-v1",
        observation=SpaceFacts(kind="box", size=2, shape=(2,), names=("x", "y")),
        action=action,
        episodes=3,
        steps=30,
        max_length=10,
        max_episode_steps=20,
        returns=ReturnSummary(mean=1, std=1, minimum=0, maximum=10),
        terminated_episodes=0,
        truncated_episodes=3,
        reward_minimum=reward_minimum,
        reward_maximum=1.0,
        observation_mean=(0.0, 0.0),
        observation_std=(1.0, 1.0),
        content_hash="",
    )


def check(model, action=DISCRETE, reward_minimum=0.0, **changes):
    spec = ReturnSweepSpec(**{"name": "s", "runs": ("a",), "targets": (1.0, 5.0)} | changes)
    run = RunSpec(name="a", dataset="d", model=model)
    check_return_sweep(spec, {"a": (run, facts_with(action, reward_minimum))})


def test_doctests_hold():
    assert doctest.testmod(sweeps).failed == 0


@pytest.mark.parametrize(
    ("model", "action", "offered"),
    [
        (DecisionTransformerSpec(), DISCRETE, {"sampled", "greedy"}),
        (BehaviourCloningSpec(), DISCRETE, {"sampled", "greedy"}),
        (DecisionTransformerSpec(), BOX, {"greedy"}),
        (DecisionTransformerSpec(action_head="tanh"), BOX, {"greedy"}),
        (DecisionTransformerSpec(action_head="linear"), BOX, {"greedy"}),
        (DecisionTransformerSpec(action_head="linear"), OPEN_BOX, {"greedy"}),
        (RvsSpec(action_head="linear"), OPEN_BOX, {"greedy"}),
        (DecisionTransformerSpec(action_head="gaussian"), BOX, {"sampled", "greedy"}),
        (DecisionTransformerSpec(), OPEN_BOX, {"sampled", "greedy"}),
    ],
)
def test_decodings_are_offered_where_there_is_something_to_draw_from(model, action, offered):
    assert set(offered_decodings(model, facts_with(action))) == offered


def test_the_decodings_offered_are_those_of_the_head_that_is_built():
    from seqrl.models.heads import make_head

    for action in (DISCRETE, BOX, OPEN_BOX):
        for choice in ("auto", "linear", "gaussian"):
            fixed = make_head(choice, action).kind in ("tanh", "linear")
            offered = offered_decodings(DecisionTransformerSpec(action_head=choice), facts_with(action))
            assert ("sampled" in offered) is not fixed


def test_a_sweep_that_suits_its_runs_passes():
    check(DecisionTransformerSpec())
    check(DecisionTransformerSpec(), BOX)
    check(DecisionTransformerSpec(discount=0.9), targets=(0.0, 8.0))
    check(DecisionTransformerSpec(), targets=(10_000.0,))


@pytest.mark.parametrize(("choice", "head"), [("auto", "tanh"), ("linear", "linear")])
def test_drawing_from_a_head_that_names_one_action_is_refused(choice, head):
    with pytest.raises(ValueError, match=f"decodings is sampled but the {head} head of a gives one action"):
        check(DecisionTransformerSpec(action_head=choice), BOX, decodings=("sampled",))


def test_an_undiscounted_target_for_a_discounted_run_is_refused():
    with pytest.raises(ValueError, match=r"target 9 is out of reach of a: with discount 0.9 .* from 0 to 8.784"):
        check(DecisionTransformerSpec(discount=0.9), targets=(5.0, 9.0))
    with pytest.raises(ValueError, match=r"target -9 is out of reach of a: .* from -8.784 to 8.784"):
        check(DecisionTransformerSpec(discount=0.9), targets=(-9.0,), reward_minimum=-1.0)


@pytest.mark.parametrize("other", [DecisionTransformerSpec(), TrajectoryTransformerSpec(), RvsSpec(discount=0.5)])
def test_runs_with_different_discounts_have_no_sweep_in_common(other):
    facts = facts_with(DISCRETE)
    models = {"a": DecisionTransformerSpec(discount=0.9), "b": other, "c": BehaviourCloningSpec()}
    spec = ReturnSweepSpec(name="s", runs=tuple(models), targets=(1.0,))
    runs = {name: (RunSpec(name=name, dataset="d", model=model), facts) for name, model in models.items()}
    with pytest.raises(ValueError, match="different discounts .a with 0.9, b with .*choose runs of one discount"):
        check_return_sweep(spec, runs)
    check_return_sweep(spec, {name: runs["c" if name == "b" else name] for name in runs})


def test_a_trajectory_transformer_plans_with_what_it_can_see_and_draw():
    check(TrajectoryTransformerSpec())
    with pytest.raises(ValueError, match="context is 5 but the model sees 3 transitions; choose at most 3"):
        check(TrajectoryTransformerSpec(context_length=3))
    with pytest.raises(ValueError, match="decodings is greedy but a plans with actions that it draws; add sampled"):
        check(TrajectoryTransformerSpec(), decodings=("greedy",))
