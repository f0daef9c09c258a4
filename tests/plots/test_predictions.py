import numpy as np
import pytest

from seqrl.plots import candidates, predicted_reward, predicted_reward_info, sentence

from .synthetic import plan


def test_candidates_are_ranked_by_score():
    _, scores, _, _, ends = plan()
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(scores))
    actions = rng.integers(0, 2, (len(scores), 15))
    table = candidates(
        scores[shuffled], actions[shuffled], scores[shuffled] + 1, names=("left", "right"), ends=ends[shuffled]
    )
    assert table["rank"].tolist() == list(range(1, 17))
    assert table["score"].tolist() == sorted(scores, reverse=True)
    assert table["behind"].iloc[0] == 0
    assert table["first_action"].tolist() == [("left", "right")[action] for action in actions[:, 0]]
    assert (table["predicted_return"] - table["score"]).round(9).eq(1).all()
    assert table["ends_after"].isna().sum() == 15
    assert table["ends_after"].iloc[-1] == 8


def test_continuous_actions_are_numbers():
    table = candidates(np.array([1.0]), np.array([[[0.25, -1.0]]]), np.array([2.0]))
    assert table["first_action"].tolist() == ["0.25, −1"]


def test_predictions_are_compared_where_there_are_any():
    real = np.array([-1.0, -2.0, -3.0, -4.0])
    info = predicted_reward_info(np.array([-1.5, np.nan, -3.5, -4.5]), real)
    assert info.error == pytest.approx(0.5)
    assert info.correlation == pytest.approx(1.0)
    figure = predicted_reward(info)
    assert list(figure.data[0].customdata) == [0, 2, 3]
    assert figure.layout.xaxis.range == figure.layout.yaxis.range
    assert sentence(info) == "Predicted rewards are off by 0.5 on average, with a correlation of 1."


def test_constant_rewards_have_no_correlation_and_no_prediction_says_so():
    constant = predicted_reward_info(np.full(5, 0.9), np.ones(5))
    assert np.isnan(constant.correlation)
    assert sentence(constant) == "Predicted rewards are off by 0.1 on average."
    none = predicted_reward_info(np.full(5, np.nan), np.ones(5))
    assert sentence(none) == predicted_reward(none).layout.annotations[0].text
