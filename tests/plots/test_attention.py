import numpy as np
import pytest

from seqrl import plots
from seqrl.plots import attention, attention_grid, attention_info, sentence

from .synthetic import attention_weights


def test_the_chosen_head_is_drawn_without_the_future():
    weights, kinds, timesteps = attention_weights()
    info = attention_info(weights, kinds, timesteps, layer=1, head=2)
    heat = attention(info).data[0]
    drawn = np.array(heat.z)
    lower = np.tri(len(kinds), dtype=bool)
    np.testing.assert_array_equal(drawn[lower], weights[1, 2][lower])
    assert np.isnan(drawn[~lower]).all()
    assert list(heat.customdata[5][3]) == ["a 1", "R 1"]


def test_rows_of_states_only_belong_to_their_tokens():
    weights, kinds, timesteps = attention_weights(steps=6)
    info = attention_info(weights[:, :, 1::3], kinds, timesteps, layer=1, head=1)
    everything = attention_info(weights, kinds, timesteps, layer=1, head=1)
    assert info.shares == everything.shares
    assert info.back == everything.back
    assert info.rows.tolist() == [1, 4, 7, 10, 13, 16]
    heat = attention(info).data[0]
    assert np.isfinite(np.array(heat.z)).sum(axis=1).tolist() == [2, 5, 8, 11, 14, 17]
    assert list(heat.customdata[2][3]) == ["s 2", "R 1"]
    assert attention(info).layout.yaxis.scaleanchor is None


def test_rows_read_downwards_like_time_and_cells_are_square():
    figure = attention(attention_info(*attention_weights()))
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]
    assert figure.layout.yaxis.scaleanchor == "x"
    assert len(figure.layout.xaxis.tickvals) <= 12


def test_the_last_state_is_read_and_its_attention_summed_by_kind():
    weights, kinds, timesteps = attention_weights(steps=6)
    info = attention_info(weights, kinds, timesteps, layer=2, head=0)
    assert info.tokens[info.rows[info.query]] == "s 5"
    row = weights[2, 0, info.query]
    assert info.shares["s"] == pytest.approx(row[np.array(kinds) == "s"].sum())
    assert sum(info.shares.values()) == pytest.approx(1.0)
    assert info.back == 5 - timesteps[row.argmax()]
    assert sentence(info).startswith("In layer 3, head 1, s 5 gives ")


def test_the_grid_has_every_head_and_frames_the_chosen_one():
    info = attention_info(*attention_weights(2, 3, 5), layer=1, head=0)
    figure = attention_grid(info)
    assert [trace.customdata[0][0] for trace in figure.data] == [3 * i + j for i in range(2) for j in range(3)]
    widths = [figure.layout[f"xaxis{n if n > 1 else ''}"].linewidth for n in range(1, 7)]
    assert widths == [1, 1, 1, 2, 1, 1]


def test_what_does_not_fit_is_refused():
    weights, kinds, timesteps = attention_weights(2, 2, 3)
    with pytest.raises(ValueError, match="3 kinds and 8 timesteps for 8 tokens"):
        attention_info(weights, kinds[:3], timesteps)
    with pytest.raises(ValueError, match="5 rows for 8 tokens with 3 states"):
        attention_info(weights[:, :, :5], kinds, timesteps)
    with pytest.raises(ValueError, match="layer 2, head 0 of 2 layers"):
        attention_info(weights, kinds, timesteps, layer=2)


def test_one_token():
    info = attention_info(np.ones((1, 1, 1, 1)), ["s"], [0])
    assert attention(info).data[0].z[0][0] == 1.0
    assert "100% of its attention to states, most to a token of its own step" in sentence(info)


def test_every_head_is_a_row_over_the_tokens_it_may_see():
    weights = np.random.default_rng(0).dirichlet(np.ones(8), size=(2, 3, 3))
    kinds, steps = ("R", "s", "a", "R", "s", "a", "R", "s"), [4, 4, 4, 5, 5, 5, 6, 6]
    info = plots.attention_info(weights, kinds, steps, layer=1, head=2)
    figure = plots.attention_heads(info)
    (heat,) = figure.data
    assert np.allclose(heat.z, weights[:, :, -1].reshape(6, 8))
    assert list(figure.layout.yaxis.ticktext)[4] == "layer 2, head 2"
    assert heat.customdata[5][0] == 5
    (frame,) = [shape for shape in figure.layout.shapes if shape.name == "chosen"]
    assert (frame.y0, frame.y1) == (4.5, 5.5)
    table = plots.attention_table(info)
    assert list(table.columns) == ["layer", "head", *info.tokens]
    assert np.allclose(table.iloc[5, 2:].astype(float), weights[1, 2, -1])


def test_tokens_may_be_named_by_their_dimension():
    weights = np.ones((1, 1, 2, 2)) / 2
    info = plots.attention_info(weights, ("s", "s"), [3, 3], names=("angle", "speed"))
    assert info.tokens == ("angle 3", "speed 3")
    assert "speed 3 gives 100% of its attention to states" in plots.sentence(info)
