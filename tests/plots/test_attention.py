import numpy as np
import pytest

from seqrl.plots import attention, attention_grid, attention_info, sentence

from .synthetic import attention_weights


def test_the_chosen_head_is_drawn_without_the_future():
    weights, names = attention_weights()
    info = attention_info(weights, names, layer=1, head=2)
    heat = attention(info).data[0]
    drawn = np.array(heat.z)
    lower = np.tri(len(names), dtype=bool)
    np.testing.assert_array_equal(drawn[lower], weights[1, 2][lower])
    assert np.isnan(drawn[~lower]).all()
    assert list(heat.customdata[5][3]) == [names[5], names[3]]


def test_rows_read_downwards_like_time_and_cells_are_square():
    figure = attention(attention_info(*attention_weights()))
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]
    assert figure.layout.yaxis.scaleanchor == "x"
    assert len(figure.layout.xaxis.tickvals) <= 12


def test_the_last_state_is_read_and_its_attention_summed_by_kind():
    weights, names = attention_weights(steps=6)
    info = attention_info(weights, names, layer=2, head=0)
    assert names[info.query] == "s 5"
    states = [index for index, name in enumerate(names) if name.startswith("s")]
    assert info.shares["s"] == pytest.approx(weights[2, 0, info.query, states].sum())
    assert sum(info.shares.values()) == pytest.approx(1.0)
    strongest = names[int(weights[2, 0, info.query].argmax())]
    assert info.farthest == 5 - int(strongest.split(" ")[1])
    assert sentence(info).startswith("In layer 3, head 1, s 5 gives ")


def test_the_grid_has_every_head_and_frames_the_chosen_one():
    info = attention_info(*attention_weights(2, 3, 5), layer=1, head=0)
    figure = attention_grid(info)
    assert [list(trace.customdata[0][0]) for trace in figure.data] == [[i, j] for i in range(2) for j in range(3)]
    widths = [figure.layout[f"xaxis{n if n > 1 else ''}"].linewidth for n in range(1, 7)]
    assert widths == [1, 1, 1, 2, 1, 1]


def test_what_does_not_fit_is_refused():
    weights, names = attention_weights(2, 2, 3)
    with pytest.raises(ValueError, match="3 names for 8 tokens"):
        attention_info(weights, names[:3])
    with pytest.raises(ValueError, match="layer 2, head 0 of 2 layers"):
        attention_info(weights, names, layer=2)


def test_one_token_and_a_plain_matrix():
    info = attention_info(np.ones((1, 1)), ["s 0"])
    assert attention(info).data[0].z[0][0] == 1.0
    assert "100% of its attention to states, most to a token of its own step" in sentence(info)
