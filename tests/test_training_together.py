"""A batch in parts: by two processes under ``torchrun``, and one part after the other; the update is that of one."""

import doctest
import json
import math
import time

import pytest
import torch
from safetensors.torch import load_file

from seqrl.config import TrainingSpec
from seqrl.config import training as training_config
from seqrl.jobs.torchrun import torchrun
from seqrl.training import Group, NonFiniteLoss, group, loop, train
from seqrl.training.records import decode, encode
from tests.shares import DROPOUTS, MODELS, STOPPED_AT, case_columns, case_spec
from tests.test_training import LENGTHS, run_spec, spoilt
from tests.windowed import make_columns

EXACT = {"loss", "validation_loss", "learning_rate", "action_loss", "return_loss", "action_error"}
"""Measures of one kind of token are weighted by all tokens of a part, as in a validation: nearly the same."""

WHOLE = {"atol": 1e-3, "rtol": 0}
"""What is left of rounding in weights after twenty updates: AdamW makes small gradients large."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The folder in which two processes have left what `tests.shares` describes."""
    folder = tmp_path_factory.mktemp("shared")
    log = folder / "log"
    with torchrun(2, "tests.shares", [str(folder)], folder, log) as processes:
        deadline = time.monotonic() + 120
        while processes.running and time.monotonic() < deadline:
            time.sleep(0.05)
    assert (folder / "resumed-1.json").is_file(), log.read_text()[-3000:]
    return folder


def said(folder, case, rank=0):
    """Step → metrics that do not measure time, and the steps with a checkpoint."""
    records = json.loads((folder / f"{case}-{rank}.json").read_text())
    values = {step: plain(values) for step, values, _ in records if values}
    return values, [step for step, _, saved in records if saved]


def plain(values):
    return {name: value for name, value in values.items() if name != "steps_per_second"}


def alone(name, dropout=0.0, **training):
    """Records of one process."""
    return list(train(case_spec(name, dropout, **training), case_columns(name)))


def assert_same_curves(found, records, tolerance):
    expected = {record.step: plain(record.values) for record in records if record.values}
    assert found.keys() == expected.keys()
    for step, values in expected.items():
        assert found[step].keys() == values.keys()
        for name in values:
            if not name.startswith("embedding_norm"):  # a look at some windows
                within = tolerance if name in EXACT else 0.02
                assert found[step][name] == pytest.approx(values[name], abs=within), (step, name)


@pytest.mark.parametrize("name", MODELS)
def test_two_processes_have_the_curve_of_one(shared, name):
    """Its losses, validation included, and in the end its weights."""
    records = alone(name)
    assert_same_curves(said(shared, f"{name}-0.0")[0], records, 1e-4)
    found = load_file(shared / f"{name}-0.0-0.safetensors")
    torch.testing.assert_close(found["parameters"], records[-1].checkpoint.training.tensors["parameters"], **WHOLE)


@pytest.mark.parametrize("dropout", DROPOUTS)
@pytest.mark.parametrize("name", MODELS)
def test_both_processes_hold_the_same_bits_and_only_the_first_speaks(shared, name, dropout):
    first, second = (load_file(shared / f"{name}-{dropout}-{rank}.safetensors") for rank in (0, 1))
    assert first.keys() == second.keys() == {"parameters", "exp_avg", "exp_avg_sq"}
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())
    assert said(shared, f"{name}-{dropout}")[1] == [10, 20]
    assert said(shared, f"{name}-{dropout}", rank=1) == ({}, [])


@pytest.mark.parametrize("name", MODELS)
def test_one_process_that_takes_two_parts_is_like_two_with_dropout_too(shared, name):
    records = alone(name, 0.3, accumulation=2)
    assert_same_curves(said(shared, f"{name}-0.3")[0], records, 1e-4)
    whole = alone(name, 0.3)
    assert records[-1].values["loss"] != pytest.approx(whole[-1].values["loss"], abs=1e-5)  # other masks


@pytest.mark.parametrize("parts", [2, 3, 9])
@pytest.mark.parametrize("name", MODELS)
def test_parts_one_after_the_other_make_the_same_update(name, parts):
    whole, cut = alone(name), alone(name, accumulation=parts)
    assert_same_curves({record.step: plain(record.values) for record in cut if record.values}, whole, 1e-4)
    ends = [records[-1].checkpoint.training.tensors["parameters"] for records in (whole, cut)]
    torch.testing.assert_close(*ends, **WHOLE)


def test_all_stop_when_one_is_asked_and_go_on_as_if_never_stopped(shared):
    values, saved = said(shared, "resumed")
    assert saved == [STOPPED_AT + 1, 10, 20]
    assert values == said(shared, "dt-0.3")[0]
    for rank in (0, 1):
        end, never_stopped = (load_file(shared / f"{case}-{rank}.safetensors") for case in ("resumed", "dt-0.3"))
        assert all(torch.equal(tensor, never_stopped[key]) for key, tensor in end.items())


def test_a_loss_that_is_not_finite_stops_a_batch_in_parts_before_the_update():
    columns = spoilt(make_columns(LENGTHS), math.nan)
    training = loop.Training(run_spec(accumulation=3), columns, None)
    before = training.optimizer.parameters.clone()
    with pytest.raises(NonFiniteLoss, match="the loss is not finite at step 0"):
        training.update()
    assert torch.equal(training.optimizer.parameters, before)


def test_a_group_of_another_size_than_the_spec_says_is_refused():
    with pytest.raises(ValueError, match="^processes is 2 but 1 train together; start as many$"):
        next(train(case_spec("dt", processes=2), case_columns("dt")))


@pytest.mark.parametrize("processes, accumulation", [(3, 3), (9, 1), (1, 9), (2, 4)])
def test_the_parts_of_a_batch_hold_every_window_once_and_none_is_empty(processes, accumulation):
    spec = TrainingSpec(batch_size=9, processes=processes, accumulation=accumulation)
    numbers = [n for rank in range(processes) for n in Group(rank, processes).share(accumulation)]
    assert numbers == list(range(spec.parts))
    assert [window for n in numbers for window in spec.part(n)] == list(range(9))
    assert all(spec.part(n) for n in numbers)


def test_the_arithmetic_of_parts():
    assert doctest.testmod(group).failed == doctest.testmod(training_config).failed == 0
    with pytest.raises(ValueError, match="batch_size is 7 but processes 2 times accumulation 4 cut it into 8 parts; "):
        TrainingSpec(batch_size=7, processes=2, accumulation=4)


def test_a_record_is_itself_after_its_way_between_processes():
    for record in train(case_spec("tt"), case_columns("tt")):
        other = decode(encode(record))
        for name in ("step", "steps", "time_s", "note"):
            assert getattr(other, name) == getattr(record, name)
        assert other.values == dict(record.values)
        assert [histogram.name for histogram in other.histograms] == [h.name for h in record.histograms]
        for ours, theirs in zip(other.histograms, record.histograms, strict=True):
            assert (ours.edges == theirs.edges).all() and (ours.counts == theirs.counts).all()
        assert (other.checkpoint is None) == (record.checkpoint is None)
    assert other.checkpoint.training.values == record.checkpoint.training.values
    for ours, theirs in (
        (other.checkpoint.weights, record.checkpoint.weights),
        (other.checkpoint.training.tensors, record.checkpoint.training.tensors),
    ):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
