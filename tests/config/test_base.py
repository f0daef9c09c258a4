import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from seqrl.config import RunSpec, TrainingSpec, apply_overrides, explain, parse_mix, parse_numbers
from seqrl.config.datasets import BehaviourSpec, DatasetSpec
from seqrl.config.imports import OpenLoopSpec
from seqrl.config.lab import ResponseSpec, ScheduleSweepSpec, parse_schedule
from seqrl.config.sweeps import ReturnSweepSpec


def refused(build) -> str:
    with pytest.raises(ValidationError) as caught:
        build()
    return explain(caught.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": "a b"}, "name is 'a b'; use 1 to 64 letters"),
        ({"name": "../x"}, "name is '../x'; use 1 to 64 letters"),
        ({"model": {"kind": "dt", "context_length": 0}}, "model.context_length is 0; choose at least 1"),
        ({"model": {"kind": "dt", "heads": 3}}, "heads is 3 but does not divide embedding_dim 128"),
        ({"training": {"steps": "many"}}, "training.steps is 'many'; give a whole number"),
        ({"training": {"speed": 2}}, "training.speed is 2; this setting does not exist"),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate is nan; "),
    ],
)
def test_a_refused_value_is_one_sentence_with_the_value_and_the_remedy(values, sentence):
    base = {"name": "run", "dataset": "data", "model": {"kind": "dt"}}
    message = refused(lambda: RunSpec(**{**base, **values}))
    assert message.startswith(sentence)
    assert "\n" not in message


def test_missing_values_are_named():
    assert refused(lambda: RunSpec(name="a", model={"kind": "dt"})) == "dataset is missing; give a value"


def test_specs_are_frozen():
    with pytest.raises(ValidationError):
        TrainingSpec().steps = 5


def test_json_round_trip_keeps_a_spec_and_its_canonical_text():
    spec = RunSpec(name="a", dataset="d", model={"kind": "bc", "top_fraction": 0.1})
    again = RunSpec.model_validate_json(spec.to_json())
    assert again == spec
    assert again.to_json() == spec.to_json()


def test_overrides_set_dotted_paths_without_touching_the_original():
    values = {"model": {"kind": "dt"}}
    changed = apply_overrides(values, ["model.context_length=5", "model.embedding=mlp", "training.threads=null"])
    assert changed == {
        "model": {"kind": "dt", "context_length": 5, "embedding": "mlp"},
        "training": {"threads": None},
    }
    assert values == {"model": {"kind": "dt"}}


@pytest.mark.parametrize("override", ["model.context_length", "=3", "model.kind.x=1"])
def test_a_malformed_override_is_refused(override):
    with pytest.raises(ValueError, match="--set"):
        apply_overrides({"model": {"kind": "dt"}}, [override])


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("25,50,100", (25, 50, 100)),
        ("50:500:50", tuple(range(50, 501, 50))),
        ("-10:-2:4", (-10, -6, -2)),
        ("500:100:-200", (500, 300, 100)),
        ("0:1:0.1", tuple(i * 0.1 for i in range(11))),
    ],
)
def test_targets_are_lists_and_ranges_with_the_stop_included(text, numbers):
    assert parse_numbers(text) == pytest.approx(numbers)


@pytest.mark.parametrize(
    "text",
    ["", "a", "1:2", "1:2:0", "5:1:1", "nan", "inf", "0:1e9:1", "-1e308:1e308:1", "1e308:-1e308:1", "0:1e308:1e-10"],
)
def test_targets_that_make_no_sense_are_refused_with_the_part(text):
    with pytest.raises(ValueError, match="targets"):
        parse_numbers(text)


@pytest.mark.parametrize("text", ["", "poor", "poor=x", "poor=0.5,poor=0.5", "=1"])
def test_a_malformed_mixture_is_refused(text):
    with pytest.raises(ValueError, match="mixture"):
        parse_mix(text)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=12), st.integers(1, 5000))
def test_whole_episodes_follow_the_shares(weights, episodes):
    total = sum(weights)
    behaviours = [BehaviourSpec(tier=f"t{i}", share=weight / total) for i, weight in enumerate(weights)]
    counts = DatasetSpec(name="d", episodes=episodes, behaviours=behaviours).episodes_by_tier()
    assert sum(counts) == episodes
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - episodes * weight / total) < 1


def test_shares_that_do_not_sum_to_one_are_refused_with_the_sum():
    message = refused(lambda: DatasetSpec(name="d", behaviours=[BehaviourSpec(share=0.5)]))
    assert message == "the shares of the mixture sum to 0.5; make them sum to 1"


@pytest.mark.parametrize("target", [1e39, -1e39])
@pytest.mark.parametrize(
    "make",
    [
        lambda target: ReturnSweepSpec(name="s", runs=["a"], targets=[target]),
        lambda target: OpenLoopSpec(name="o", run="a", dataset="d", targets=[target]),
        lambda target: ResponseSpec(sweep="s", episode_id=0, step=0, values=[target]),
        lambda target: ScheduleSweepSpec(name="s", runs=["a"], schedules=(), target=target),
        lambda target: parse_schedule(f"0:{target}"),
    ],
)
def test_a_target_that_single_precision_cannot_hold_is_refused(make, target):
    assert re.search(r"-?1e\+39; choose at (most|least) -?1e\+30", refused(lambda: make(target)))


def test_a_repeated_run_or_target_is_refused():
    assert "runs names 'a' twice" in refused(lambda: ReturnSweepSpec(name="s", runs=["a", "a"], targets=[1]))
    assert "targets names 1.0 twice" in refused(lambda: ReturnSweepSpec(name="s", runs=["a"], targets=[1, 1]))
