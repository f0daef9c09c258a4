import pytest

from seqrl.config import RunSpec, check_run
from seqrl.config.facts import DatasetFacts, ReturnSummary, SpaceFacts


def facts(**changes) -> DatasetFacts:
    values = {
        "environment": "CartPole-v1",
        "observation": SpaceFacts(kind="box", size=4, shape=(4,), names=("a", "b", "c", "d")),
        "action": SpaceFacts(kind="discrete", size=1, shape=(), names=("action",), categories=(2,)),
        "episodes": 10,
        "steps": 100,
        "max_length": 40,
        "max_episode_steps": 500,
        "returns": ReturnSummary(mean=10, std=1, minimum=5, maximum=15),
        "terminated_episodes": 10,
        "truncated_episodes": 0,
        "reward_minimum": 1,
        "reward_maximum": 1,
        "observation_mean": (0, 0, 0, 0),
        "observation_std": (1, 1, 1, 1),
        "content_hash": "0" * 64,
    }
    return DatasetFacts(**{**values, **changes})


def spec(**model) -> RunSpec:
    return RunSpec(name="run", dataset="data", model={"kind": "dt", **model})


def test_a_model_that_fits_is_accepted():
    check_run(spec(context_length=500), facts())
    check_run(spec(kind="bc", top_fraction=0.13), facts(episodes=8))
    few = {"kind": "bc", "top_fraction": 0.1}
    check_run(RunSpec(name="run", dataset="data", model=few, training={"validation_fraction": 0}), facts(episodes=8))


BOX = SpaceFacts(kind="box", size=1, shape=(1,), names=("torque",), low=(-2,), high=(2,))
OPEN = SpaceFacts(kind="box", size=1, shape=(1,), names=("torque",), low=(-2,), high=(None,))
IMAGE = SpaceFacts(kind="image", size=48, shape=(4, 4, 3), names=())


@pytest.mark.parametrize(
    ("model", "data", "sentence"),
    [
        (
            {"context_length": 600},
            {},
            "context_length is 600 but CartPole-v1 episodes end at 500 steps; choose at most 500",
        ),
        ({"max_timestep": 100}, {}, "max_timestep is 100 but CartPole-v1 episodes last up to 500 steps"),
        ({"action_head": "tanh"}, {}, "action_head is tanh but the actions are discrete; choose categorical"),
        ({"action_head": "categorical"}, {"action": BOX}, "action_head is categorical but the actions are continuous"),
        ({"action_head": "tanh"}, {"action": OPEN}, "action_head is tanh but an action dimension has no bounds"),
        ({"kind": "rvs"}, {"observation": IMAGE}, "observations are images of shape (4, 4, 3), which a plain network"),
        ({}, {"episodes": 1}, "validation_fraction is 0.1 but the dataset has only one episode"),
        (
            {"kind": "bc", "top_fraction": 0.1},
            {"episodes": 8},
            "validation_fraction is 0.1 but a top_fraction of 0.1 leaves one of 8 episodes; "
            "choose validation_fraction 0, or a top_fraction above 0.125",
        ),
    ],
)
def test_a_model_that_cannot_fit_its_data_is_refused(model, data, sentence):
    with pytest.raises(ValueError) as caught:
        check_run(spec(**model), facts(**data))
    assert str(caught.value).startswith(sentence)
