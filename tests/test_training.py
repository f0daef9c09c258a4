import dataclasses
import doctest
import itertools
import math
import threading

import numpy as np
import pytest
import torch

from seqrl.checkpoints import load_model, load_training_state, save_checkpoint
from seqrl.config import RunSpec, TrainingSpec
from seqrl.mapped import Resident
from seqrl.models.decision_transformer import DecisionTransformer
from seqrl.training import FlatAdamW, NonFiniteLoss, learning_rate, loop, optimizer, train
from seqrl.training.ahead import BatchesAhead
from seqrl.training.machine import IdleCores, choose_precision
from seqrl.training.optimizer import decayed_parameters
from seqrl.windows import split_episodes
from tests import trajectories
from tests.windowed import make_columns

LENGTHS = (12, 20, 3, 9, 16, 20, 14, 1, 18, 11)
TIMED = {"steps_per_second"}


@pytest.fixture(scope="module")
def columns():
    return make_columns(LENGTHS)


def run_spec(model=None, **training) -> RunSpec:
    model = {"kind": "dt", "embedding_dim": 16, "layers": 2, "heads": 2, "context_length": 6} | (model or {})
    values = {"steps": 30, "batch_size": 8, "warmup_steps": 4, "log_every": 4, "validate_every": 6, "threads": 1}
    values |= {"histogram_every": 15, "checkpoint_every": 10, "validation_fraction": 0.3, "learning_rate": 3e-3}
    return RunSpec.model_validate({"name": "run", "dataset": "data", "model": model, "training": values | training})


def stop_after(updates: int):
    calls = itertools.count(1)
    return lambda: next(calls) >= updates


def metrics(records) -> dict[int, dict[str, float]]:
    kept = {r.step: {k: v for k, v in r.values.items() if k not in TIMED} for r in records if r.values}
    return kept


# --- going on where it stopped ---------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stop", [7, 20])
def test_a_resumed_run_equals_one_that_never_stopped_bit_for_bit(columns, tmp_path, precision, stop):
    spec = run_spec(precision=precision)
    whole = list(train(spec, columns))
    first = list(train(spec, columns, should_stop=stop_after(stop)))
    assert first[-1].step == stop
    save_checkpoint(tmp_path, first[-1].checkpoint, spec, columns.facts)
    rest = list(train(spec, columns, state=load_training_state(tmp_path)))
    ends = [records[-1].checkpoint for records in (whole, rest)]
    for name, tensor in ends[0].training.tensors.items():
        assert torch.equal(tensor, ends[1].training.tensors[name]), name
    for name, tensor in ends[0].weights.items():
        assert torch.equal(tensor, ends[1].weights[name]), name
    assert metrics(whole) == metrics(first) | metrics(rest)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("model", "action"),
    [
        ({"kind": "dt", "heads": 1}, "box"),
        ({"kind": "dt", "heads": 4, "return_head": "bins"}, "discrete"),
        ({"kind": "dt", "heads": 2, "return_head": "expectile", "embedding": "mlp"}, "open_box"),
        ({"kind": "bc", "heads": 2}, "multi_discrete"),
        ({"kind": "rvs"}, "box"),
        ({"kind": "tt", "heads": 2, "bins": 20}, "box"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["kind"],
)
@pytest.mark.parametrize("context", [6, 10])
def test_the_number_of_threads_changes_no_bit(model, action, precision, context):
    """So a run may take the cores that are idle, and is still the same run whatever ran beside it."""
    tokens = model["kind"] == "tt"
    columns = trajectories.make_columns(4, trajectories.box(3)) if tokens else make_columns((20,) * 10, action=action)
    settings = (
        {"embedding_dim": 64, "layers": 2} | ({} if model["kind"] == "rvs" else {"context_length": context}) | model
    )
    ends = []
    for threads in (1, 2):
        spec = run_spec(steps=3, batch_size=64, threads=threads, precision=precision)
        spec = RunSpec.model_validate(spec.model_dump() | {"model": settings})
        ends.append(list(train(spec, columns))[-1])
    for name, tensor in ends[0].checkpoint.training.tensors.items():
        assert torch.equal(tensor, ends[1].checkpoint.training.tensors[name]), name
    assert metrics(ends[:1]) == metrics(ends[1:])


def test_columns_too_large_for_memory_train_the_same_weights(columns, tmp_path, monkeypatch):
    mapped = {}
    for name in ("observations", "actions"):
        np.save(tmp_path / f"{name}.npy", getattr(columns, name))
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    large = dataclasses.replace(columns, **mapped)
    expected = list(train(run_spec(), columns))
    monkeypatch.setattr(Resident, "LIMIT_BYTES", 1)
    assert large.large
    found = list(train(run_spec(), large))
    assert metrics(found) == metrics(expected)
    for name, tensor in expected[-1].checkpoint.weights.items():
        assert torch.equal(tensor, found[-1].checkpoint.weights[name]), name


def test_every_batch_is_read_once_and_before_it_is_asked_for():
    read, started = [], threading.Event()

    class Source:
        def sample(self, count, seed, batch, part):
            read.append(batch)
            if batch == 3:
                raise OSError("the disk is gone")
            if batch == 1:
                started.set()
            return (count, seed, batch)

    ahead = BatchesAhead(Source())
    assert ahead.sample(4, 0, 0) == ahead.sample(4, 0, 0) == (4, 0, 0)
    assert started.wait(10)  # nobody has asked for batch 1
    assert ahead.sample(4, 0, 1) == (4, 0, 1) and ahead.sample(4, 0, 2) == (4, 0, 2)
    with pytest.raises(OSError, match="gone"):
        ahead.sample(4, 0, 3)
    assert read[:4] == [0, 1, 2, 3]


def test_the_log_says_what_was_chosen(columns):
    chosen, asked = (next(train(run_spec(steps=1, precision=p), columns)).note for p in ("auto", "fp32"))
    assert f"{choose_precision('auto', torch.device('cpu'))} (auto: " in chosen
    assert "fp32, 1 thread, cpu" in asked


def test_another_seed_is_another_run(columns):
    first, other = (list(train(run_spec(steps=3).model_copy(update={"seed": s}), columns))[-1] for s in (0, 1))
    assert not torch.equal(
        first.checkpoint.training.tensors["parameters"], other.checkpoint.training.tensors["parameters"]
    )


def test_resuming_a_finished_run_changes_nothing(columns):
    spec = run_spec(steps=4)
    end = list(train(spec, columns))[-1].checkpoint
    again = list(train(spec, columns, state=end.training))
    assert [record.step for record in again] == [4, 4]
    assert torch.equal(again[-1].checkpoint.training.tensors["parameters"], end.training.tensors["parameters"])


def test_a_state_of_another_model_is_refused(columns):
    state = list(train(run_spec(steps=1), columns))[-1].checkpoint.training
    with pytest.raises(ValueError, match="numbers but the model has"):
        next(train(run_spec({"layers": 1}), columns, state=state))


def test_training_leaves_global_randomness_and_threads_alone(columns):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    list(train(run_spec(steps=2), columns))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


# --- what it says ----------------------------------------------------------------------------------


def test_everything_is_logged_when_it_is_due(columns):
    records = list(train(run_spec(), columns))
    assert records[0].step == 0
    assert "1 thread" in records[0].note
    every = {record.step: record for record in records if record.values or record.histograms or record.checkpoint}
    logged = {step for step, record in every.items() if "loss" in record.values}
    validated = {step for step, record in every.items() if "validation_loss" in record.values}
    assert logged == {4, 8, 12, 16, 20, 24, 28, 30}
    assert validated == {6, 12, 18, 24, 30}
    assert {step for step, record in every.items() if record.histograms} == {15, 30}
    assert {step for step, record in every.items() if record.checkpoint} == {10, 20, 30}
    assert set(every[12].values) == {
        "loss",
        "accuracy",
        "gradient_norm",
        "learning_rate",
        "steps_per_second",
        "embedding_norm/return",
        "embedding_norm/observation",
        "embedding_norm/action",
        "validation_loss",
        "validation_accuracy",
    }
    times = [record.time_s for record in records]
    assert times == sorted(times)


def test_logged_values_are_means_over_the_interval(columns):
    spec = run_spec(steps=4, log_every=4, validation_fraction=0.0)
    each = [
        r.values["loss"] for r in train(run_spec(steps=4, log_every=1, validation_fraction=0.0), columns) if r.values
    ]
    together = [r.values["loss"] for r in train(spec, columns) if r.values]
    # the schedule knows the steps, not the interval: the updates are the same
    assert together == [pytest.approx(np.mean(each))]


def test_histograms_count_every_weight_and_gradient(columns):
    record = next(r for r in train(run_spec(steps=2, histogram_every=2), columns) if r.histograms)
    model = DecisionTransformer.build(run_spec().model, columns.facts, 0)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    counted = {histogram.name: histogram.counts.sum() for histogram in record.histograms}
    assert counted == {f"{kind}/{name}": size for kind in ("weights", "gradients") for name, size in sizes.items()}
    assert all(len(histogram.edges) == len(histogram.counts) + 1 for histogram in record.histograms)


def test_news_come_even_if_nothing_is_due(columns, monkeypatch):
    monkeypatch.setattr(loop, "_QUIET_S", 0.0)
    spec = run_spec(steps=5, log_every=100, validate_every=100)
    assert [record.step for record in train(spec, columns)][:5] == [0, 1, 2, 3, 4]


# --- validation ------------------------------------------------------------------------------------


def test_bug_17_validation_is_on_whole_episodes_that_training_never_sees(columns):
    """Neighbouring windows share most of their steps: a split by window measures memory."""
    spec = run_spec()
    training = loop.Training(spec, columns, None)
    kept, held_out = split_episodes(len(LENGTHS), 0.3, spec.seed)
    seen = {float(x) for b in range(200) for x in training.batches.sample(8, 0, b).observations[:, 0, 0]}
    starts, ends = columns.episodes["start"], columns.episodes["end"]
    hidden = {float(x) for e in held_out for x in columns.observations[starts[e] : ends[e], 0]}
    measured = {float(x) for batch in training.held_out.cover(8) for x in batch.observations[batch.mask][:, 0]}
    assert not seen & hidden
    assert measured == hidden


def test_bug_18_the_weights_to_act_with_are_those_of_the_best_validation(columns, tmp_path):
    """The notebook saves its best checkpoint and never loads it."""
    spec = run_spec(steps=120, learning_rate=0.02, validate_every=10, schedule="constant", batch_size=4)
    records = list(train(spec, columns))
    losses = {record.step: record.values["validation_loss"] for record in records if "validation_loss" in record.values}
    best = min(losses, key=losses.get)
    checkpoint = records[-1].checkpoint
    assert best < 120  # else this test says nothing
    assert checkpoint.training.values["best_step"] == best
    save_checkpoint(tmp_path, checkpoint, spec, columns.facts)
    model, _, _ = load_model(tmp_path)
    training = loop.Training(spec, columns, None)
    training.model = model
    assert training.validate()["validation_loss"] == pytest.approx(losses[best], rel=1e-6)


def test_without_validation_the_latest_weights_act(columns):
    checkpoint = list(train(run_spec(steps=5, validation_fraction=0.0), columns))[-1].checkpoint
    assert "best_parameters" not in checkpoint.training.tensors
    flat = torch.cat([checkpoint.weights[name].reshape(-1) for name in ordered_names(columns)])
    assert torch.equal(flat, checkpoint.training.tensors["parameters"])


def ordered_names(columns):
    return list(FlatAdamW(DecisionTransformer.build(run_spec().model, columns.facts, 0), 0.0).slices)


def test_early_stopping_waits_for_its_patience(columns):
    spec = run_spec(steps=600, learning_rate=0.03, validate_every=5, early_stopping_patience=3, schedule="constant")
    records = list(train(spec, columns))
    losses = [record.values["validation_loss"] for record in records if "validation_loss" in record.values]
    assert records[-1].step < 600
    assert records[-1].checkpoint is not None
    assert {"loss", "validation_loss"} <= set(records[-1].values)
    assert np.argmin(losses) == len(losses) - 4


# --- optimisation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "action"), [("dt", "discrete"), ("bc", "multi_discrete"), ("dt", "box")])
def test_a_rule_is_learnt(action, kind):
    columns = make_columns((20,) * 30, action=action)
    model = {"kind": kind, "embedding_dim": 32, "layers": 1, "context_length": 4}
    spec = run_spec(model, steps=200, batch_size=32, log_every=50, validate_every=100, learning_rate=5e-3)
    values = list(train(spec, columns))[-1].values
    if action == "box":
        assert values["validation_action_error"] < 0.12
    else:
        assert values["validation_accuracy"] > {"discrete": 0.85, "multi_discrete": 0.6}[action]


def test_only_matrices_decay(columns):
    model = DecisionTransformer.build(run_spec({"embedding": "mlp"}).model, columns.facts, 0)
    decayed = decayed_parameters(model)
    free = {name for name, _ in model.named_parameters()} - decayed
    assert {name for name in free if not name.endswith("bias")} == {
        "embed_action.table.weight",
        "embed_timestep.weight",
        "embed_norm.weight",
        "transformer.norm.weight",
        *(f"transformer.blocks.{layer}.norm_{place}.weight" for layer in (0, 1) for place in (1, 2)),
    }
    assert "transformer.blocks.0.attention.qkv.weight" in decayed
    assert "embed_observation.input.weight" in decayed


def test_the_flat_optimizer_is_adamw_with_two_groups(columns):
    spec = run_spec().model
    flat, plain = (DecisionTransformer.build(spec, columns.facts, 0) for _ in range(2))
    ours = FlatAdamW(flat, weight_decay=0.1)
    decayed = decayed_parameters(plain)
    named = dict(plain.named_parameters())
    theirs = torch.optim.AdamW(
        [
            {"params": [p for n, p in named.items() if n in decayed], "weight_decay": 0.1},
            {"params": [p for n, p in named.items() if n not in decayed], "weight_decay": 0.0},
        ],
    )
    batches = flat.batches(columns, np.arange(len(LENGTHS)))
    for step in range(4):
        batch = batches.sample(8, 0, step)
        ours.zero_gradients()
        theirs.zero_grad()
        for model in (flat, plain):
            model.loss(batch)[0].backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
        assert ours.clip(0.1) == pytest.approx(float(norm), rel=1e-5)
        for group in theirs.param_groups:
            group["lr"] = 1e-2
        theirs.step()
        ours.update(1e-2)
    for name, parameter in flat.named_parameters():
        torch.testing.assert_close(parameter, named[name], atol=1e-5, rtol=1e-4)


def test_the_learning_rate_rises_and_falls():
    assert doctest.testmod(optimizer).failed == 0
    spec = TrainingSpec(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(step, spec) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.01 <= rates[-1] < 0.012
    assert learning_rate(55, spec) == pytest.approx(0.01 + 0.495 * (1 + math.cos(math.pi / 2)))
    constant = TrainingSpec(steps=100, warmup_steps=10, learning_rate=1.0, schedule="constant")
    assert learning_rate(99, constant) == 1.0
    assert learning_rate(0, TrainingSpec(warmup_steps=0, learning_rate=0.5)) == 0.5


# --- numbers that are not finite -------------------------------------------------------------------


def spoilt(columns, value: float):
    rewards = columns.rewards.copy()
    rewards[: columns.steps] = value
    return dataclasses.replace(columns, rewards=rewards)


def test_a_loss_that_is_not_finite_stops_before_the_update(columns):
    spec = run_spec(validation_fraction=0.0)
    state = list(train(spec, columns, should_stop=stop_after(3)))[-1].checkpoint.training
    training = loop.Training(spec, spoilt(columns, math.nan), state)
    before = training.optimizer.state()
    with pytest.raises(NonFiniteLoss, match="the loss is not finite at step 3; the last checkpoint is kept") as caught:
        training.update()
    assert (caught.value.step, caught.value.what) == (3, "loss")
    assert all(torch.equal(tensor, before[name]) for name, tensor in training.optimizer.state().items())


def test_a_gradient_that_is_not_finite_stops_before_the_update(columns):
    training = loop.Training(run_spec(validation_fraction=0.0), columns, None)
    before = training.optimizer.parameters.clone()
    training.model.predict_action.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NonFiniteLoss, match="the gradient is not finite at step 0"):
        training.update()
    assert torch.equal(training.optimizer.parameters, before)


# --- the machine -----------------------------------------------------------------------------------


def test_precision_and_threads_are_as_asked_or_chosen():
    cpu = torch.device("cpu")
    assert [choose_precision(precision, cpu) for precision in ("fp32", "bf16")] == ["fp32", "bf16"]
    assert choose_precision("auto", cpu) in ("fp32", "bf16")


def test_busy_neighbours_leave_fewer_threads(monkeypatch):
    def set_processors(number):
        for module in ("seqrl.training.machine", "seqrl.processors"):
            monkeypatch.setattr(f"{module}.processors", lambda: number)

    def set_busy(percent):
        monkeypatch.setattr("psutil.cpu_percent", lambda interval: percent)

    monkeypatch.setattr("os.cpu_count", lambda: 4)
    set_processors(4)
    for percent, threads in ((0.0, 4), (25.0, 3), (60.0, 2), (100.0, 1)):
        set_busy(percent)
        assert IdleCores().threads == threads
    assert IdleCores(1).threads == 1
    assert IdleCores(8).threads == 4
    set_processors(2)  # of a machine where others have left two idle
    set_busy(50.0)
    assert IdleCores().threads == 2


def test_threads_are_given_up_and_taken_back_as_neighbours_come_and_go(monkeypatch):
    machine = "seqrl.training.machine"
    clock = {"now": 0.0, "all": 0.0, "own": 0.0}
    monkeypatch.setattr(f"{machine}.processors", lambda: 4)
    monkeypatch.setattr(f"{machine}.os.cpu_count", lambda: 4)
    monkeypatch.setattr(f"{machine}.psutil.cpu_percent", lambda interval: 0.0)
    monkeypatch.setattr(f"{machine}.time.perf_counter", lambda: clock["now"])
    monkeypatch.setattr(IdleCores, "_look", staticmethod(lambda: (clock["now"], clock["all"], clock["own"])))
    given = []
    monkeypatch.setattr(f"{machine}.torch.get_num_threads", lambda: 0)
    monkeypatch.setattr(f"{machine}.torch.set_num_threads", given.append)
    cores, few, fixed = IdleCores(), IdleCores(most=2), IdleCores(3)
    for others, seconds, threads in ((0.0, 3, 4), (2.1, 3, 2), (3.9, 3, 1), (0.1, 3, 4), (4.0, 1, 4)):
        own = 1.5 * seconds
        for name, more in {"now": seconds, "all": own + others * seconds, "own": own}.items():
            clock[name] += more
        for share, wanted in ((cores, threads), (few, min(threads, 2)), (fixed, 3)):
            share.take()
            assert share.threads == given[-1] == wanted
