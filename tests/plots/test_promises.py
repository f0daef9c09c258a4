import numpy as np
import pytest

from seqrl.plots import promised_return, promised_return_info, sentence


def test_what_was_collected_is_the_reward_that_was_still_to_come():
    info = promised_return_info([2.0, np.nan, 5.0], [1.0, 2.0, 4.0])
    np.testing.assert_allclose(info.collected, [7, 6, 4])
    assert info.error == pytest.approx((5 + 1) / 2)
    figure = promised_return(info)
    drawn = {trace.name: trace for trace in figure.data}
    np.testing.assert_allclose(drawn["collected"].y, [7, 6, 4])
    np.testing.assert_array_equal(drawn["promised"].y, [2, np.nan, 5])
    assert sentence(info) == (
        "At step 0 the best future promised 2, and 7 came; over the episode its promises are off by 3 on average."
    )


def test_nothing_is_said_of_nothing():
    nothing = promised_return_info([np.nan, np.nan], [1.0, 1.0])
    assert promised_return(nothing).layout.annotations[0].text == sentence(nothing)


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_episodes_are_drawn(length):
    assert len(promised_return(promised_return_info(np.ones(length), np.ones(length)), "dark", True).data) == 2
