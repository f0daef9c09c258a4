"""Grids: typed text becomes values, runs get names of their own, and what cannot be trained is refused."""

import pytest
from pydantic import ValidationError

from seqrl.config import GridSpec, extended, parse_axis, parse_values, short_settings
from seqrl.files import is_name
from tests.specs import run_spec


def grid(axes, seeds=(0,), name="ctx", **changes):
    return GridSpec.of(run_spec(name, **changes), axes, seeds)


def test_values_are_numbers_ranges_truth_nothing_or_words():
    assert parse_axis("training.learning_rate=1e-3,3e-4") == ("training.learning_rate", (1e-3, 3e-4))
    assert parse_values("1, 5:15:5, true, null, cosine", "x") == (1, 5.0, 10.0, 15.0, True, None, "cosine")
    for text in ("model.context_length", "=1,2"):
        with pytest.raises(ValueError, match="has no values; write for example --grid model.context_length=1"):
            parse_axis(text)
    with pytest.raises(ValueError, match="context length has no values"):
        parse_values(" , ", "context length")


def test_every_combination_is_trained_with_every_seed():
    spec = grid({"model.context_length": (1, 5.0), "training.learning_rate": (1e-3, 3e-4)}, seeds=(3, 4))
    cells = spec.cells()
    assert spec.size == len(cells) == 8
    assert [cell.name for cell in cells][:3] == [
        "ctx-cl1-lr0.001-seed3",
        "ctx-cl1-lr0.001-seed4",
        "ctx-cl1-lr0.0003-seed3",
    ]
    assert len({cell.name for cell in cells}) == 8 and all(is_name(cell.name) for cell in cells)
    last = cells[-1]
    assert (last.model.context_length, last.training.learning_rate, last.seed) == (5, 3e-4, 4)
    assert last.model.layers == spec.base.model.layers
    assert GridSpec.model_validate_json(spec.to_json()) == spec


def test_names_tell_words_truth_and_nothing_and_settings_with_the_same_letters_apart():
    spec = grid({"training.schedule": ("cosine",), "training.early_stopping_patience": (None, 3)})
    assert [cell.name for cell in spec.cells()] == [
        "ctx-schedule_cosine-esp_none-seed0",
        "ctx-schedule_cosine-esp3-seed0",
    ]
    assert short_settings(["training.steps", "model.layers", "training.log_every"]) == {
        "training.steps": "steps",
        "model.layers": "layers",
        "training.log_every": "le",
    }
    assert short_settings(["training.gradient_clip", "model.gamma_clip"]) == {
        "training.gradient_clip": "training_gradient_clip",
        "model.gamma_clip": "model_gamma_clip",
    }


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ({"seed": (1, 2)}, "a grid cannot vary seed; choose how many seeds with --seeds"),
        ({"model.kind": ("dt", "bc")}, "a grid cannot vary model.kind; train one grid for each model"),
        ({"context_length": (1,)}, "name a setting of the model or the training, such as model.context_length"),
        ({"model.layers": (1, 2, 1.0)}, "model.layers is 1, 2, 1.0, which names a value twice; give each once"),
        ({"model.context_length": range(1, 66)}, "the grid has 65 runs; choose at most 64"),
        ({"model.heads": (1, 3)}, "heads is 3 but does not divide embedding_dim 16"),
    ],
)
def test_what_cannot_be_trained_is_refused(axes, sentence):
    with pytest.raises(ValueError) as refused:
        grid(axes)
    assert sentence in str(refused.value)


def test_a_value_that_no_spec_takes_is_refused_as_everywhere():
    with pytest.raises(ValidationError, match="context_length"):
        grid({"model.context_length": (0, 5)})
    with pytest.raises(ValidationError, match="contxt"):
        grid({"model.contxt": (5,)})


def test_names_that_no_store_takes_are_refused_with_the_longest_that_it_does():
    name = "n" * 51
    with pytest.raises(ValueError, match="name the grid with at most 50 letters"):
        grid({"training.learning_rate": (0.001,)}, name=name)
    assert len(grid({"training.learning_rate": (0.001,)}, name="n" * 50).cells()[0].name) == 64


def test_a_grid_grows_by_values_and_seeds_and_by_nothing_else():
    old = grid({"model.context_length": (1, 5)}, seeds=(0, 1))
    both = extended(old, grid({"model.context_length": (5, 10)}, seeds=(2,)))
    assert both.axes[0].values == (1, 5, 10) and both.seeds == (0, 1, 2)
    with pytest.raises(ValueError, match="varies model.context_length, not model.layers; choose another name"):
        extended(old, grid({"model.layers": (1, 2)}))
    with pytest.raises(ValueError, match="exists already with training.steps 30, not 31; choose another name"):
        extended(old, grid({"model.context_length": (1, 5)}, steps=31))
    assert extended(old, grid({"model.context_length": (1,)}, model={"context_length": 7})).axes == old.axes
