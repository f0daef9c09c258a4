import numpy as np
import pytest
import torch
import torch.nn.functional as F

from seqrl.config import RunSpec, TrainingSpec, TrajectoryTransformerSpec
from seqrl.models.beam_decoder import BeamDecoder
from seqrl.models.layers import DropoutNoise
from seqrl.models.token_windows import TokenBatch
from seqrl.models.trajectory_transformer import TrajectoryTransformer
from seqrl.tokens import value_targets
from seqrl.training import train
from tests.trajectories import box, discrete, first_tokens, make_columns, make_model


@pytest.fixture(scope="module")
def columns():
    return make_columns()


@pytest.fixture(scope="module")
def model(columns):
    return make_model(columns)


@pytest.fixture(scope="module")
def tokens(model, columns):
    return first_tokens(model, columns, 4, np.arange(6))


@torch.inference_mode()
def cached_logits(model: TrajectoryTransformer, tokens: torch.Tensor, prefix: int = 1) -> torch.Tensor:
    """Logits of every token after the first ``prefix``, one decoding step at a time: (B, L * D - prefix, W)."""
    decoder = BeamDecoder(model.transformer)
    flat = tokens[:, :, :-1].flatten(1)
    bias = model.vocabulary_bias()
    states = decoder.start(model.embed(flat[:, :prefix]))
    decoder.branch(1, flat.shape[1])
    logits = []
    for place in range(prefix, flat.shape[1] + 1):
        dimension = (place - 1) % model.positions + 1
        for answered in (dimension, 0) if dimension == model.positions else (dimension,):
            logits.append(F.linear(states, model.heads.weight[answered], model.heads.bias[answered] + bias[answered]))
        if place < flat.shape[1]:
            states = decoder.step(model.embed(flat[:, place : place + 1], place)[:, 0])
    return torch.stack(logits[:-1], dim=1)  # the last one predicts the observation behind the window


def test_bug_01_cached_logits_equal_plain_ones_at_every_position(model, tokens):
    """The notebook's cached path takes the head from a loop variable, so always the same one."""
    plain = model(tokens).flatten(1, 2)[:, 1:]
    cached = cached_logits(model, tokens)
    assert plain.shape == cached.shape
    finite = torch.isfinite(plain)
    assert (finite == torch.isfinite(cached)).all()
    assert (plain - cached)[finite].abs().max() < 1e-4
    wrong = F.linear(torch.randn(1, 16), model.heads.weight[0]) - F.linear(torch.randn(1, 16), model.heads.weight[1])
    assert wrong.abs().max() > 1e-2  # another head is another answer


def test_bug_02_the_content_of_value_tokens_changes_no_other_logit_and_cached_argmax_agrees(model, tokens):
    """The notebook's cached path and faster-trajectory-transformer drop the value mask: argmax agrees at 90 % only."""
    before = model(tokens)
    other = tokens.clone()
    other[:, :, -1] = (other[:, :, -1] + 1) % model.tokenizer().vocabulary[-1]
    assert torch.equal(model(other), before)
    assert (cached_logits(model, tokens).argmax(-1) == before.flatten(1, 2)[:, 1:].argmax(-1)).all()


def test_a_token_is_predicted_from_earlier_tokens_only(model, tokens):
    """Changing one token changes logits behind it, and none up to it."""
    before = model(tokens).flatten(1, 2)
    for place in range(1, tokens[0].numel()):
        changed = tokens.clone().flatten(1)
        dimension = place % tokens.shape[2]
        changed[:, place] = (changed[:, place] + 1) % model.tokenizer().vocabulary[dimension]
        after = model(changed.view_as(tokens)).flatten(1, 2)
        assert torch.equal(after[:, 1 : place + 1], before[:, 1 : place + 1])
        is_seen = dimension < model.positions and place + 1 < before.shape[1]
        assert torch.equal(after[:, place + 1 :], before[:, place + 1 :]) != is_seen


def test_tokens_that_a_dimension_does_not_have_are_impossible(model, tokens):
    logits = model(tokens)
    for dimension, count in enumerate(model.tokenizer().vocabulary):
        assert torch.isfinite(logits[:, 1:, dimension, :count]).all()
        assert torch.isneginf(logits[:, 1:, dimension, count:]).all()


def loop_loss(model, batch: TokenBatch) -> float:
    """The definition: weighted cross-entropy of every real token but the first, over their number."""
    logits = model(batch.tokens.long())
    total, count = 0.0, 0
    for row, real in enumerate(batch.mask):
        for step in range(int(real.sum())):
            for dimension in range(len(model.layout)):
                if step == 0 and dimension == 0:
                    continue
                weight = model.spec.action_weight if model.layout.dimensions[dimension].kind == "action" else 1.0
                target = int(batch.tokens[row, step, dimension])
                total += -weight * float(logits[row, step, dimension].log_softmax(-1)[target])
                count += 1
    assert count == batch.count
    return total / count


def test_bug_05_and_07_padding_is_masked_in_step_with_the_targets_and_not_counted(model, columns):
    """The notebook fills its mask after padding, shifted by one against the targets, and divides by padded tokens."""
    batches = model.batches(columns, np.array([0, 3]))
    batch = batches.sample(24, seed=1, batch=0)
    assert not batch.mask.all()
    loss, measures = model.loss(batch)
    assert float(loss) == pytest.approx(loop_loss(model, batch), rel=1e-5)
    scrambled = batch.tokens.clone()
    scrambled[~batch.mask] = (scrambled[~batch.mask] + 1) % 3
    again, same = model.loss(TokenBatch(scrambled, batch.mask))
    assert torch.equal(loss, again)
    assert all(torch.equal(measures[name], same[name]) for name in measures)
    last_real = scrambled.clone()
    rows = torch.arange(24)
    last_real[rows, batch.mask.sum(1) - 1, model.layout.reward] += 1
    assert not torch.equal(model.loss(TokenBatch(last_real % 5, batch.mask))[0], loss)


def test_measures_are_unweighted_means_over_one_kind_of_token(model, columns):
    batch = model.batches(columns, np.arange(6)).sample(16, seed=0, batch=3)
    _, measures = model.loss(batch)
    logits, tokens = model(batch.tokens.long()), batch.tokens.long()
    hits = (logits.argmax(-1) == tokens) & batch.mask[..., None]
    steps = int(batch.mask.sum())
    assert float(measures["accuracy_action"]) == pytest.approx(int(hits[..., 2].sum()) / steps)
    assert float(measures["accuracy_value"]) == pytest.approx(int(hits[..., 4].sum()) / steps)
    seen = hits[..., :2].sum() - hits[:, 0, 0].sum()
    assert float(measures["accuracy_observation"]) == pytest.approx(int(seen) / (2 * steps - 16))
    assert set(model.embedding_norms(batch)) == {"observation", "action", "reward"}


def test_windows_are_clipped_at_the_end_of_their_episode(model, columns):
    windows = model.batches(columns, np.array([0]))
    batch = next(windows.cover(100))
    assert batch.mask.sum(1).tolist() == [4, 4, 2]
    assert torch.equal(batch.tokens[2, :2], torch.from_numpy(windows.tokens[8:10]))
    assert len(windows) == 10
    same = windows.sample(8, seed=3, batch=5)
    assert torch.equal(same.tokens, windows.sample(8, seed=3, batch=5).tokens)
    assert not torch.equal(same.tokens, windows.sample(8, seed=3, batch=6).tokens)


def test_more_than_256_bins_train_too():
    columns = make_columns(action=box(2))
    model = make_model(columns, bins=300)
    batch = model.batches(columns, np.arange(6)).sample(4, seed=0, batch=0)
    assert batch.tokens.dtype == torch.int32
    assert float(model.loss(batch)[0]) == pytest.approx(loop_loss(model, batch), rel=1e-5)


def test_a_checkpoint_brings_its_bins_along(model, columns, tokens):
    again = TrajectoryTransformer.from_weights(model.spec, columns.facts, model.state_dict())
    assert torch.equal(again(tokens), model(tokens))
    assert (again.tokenizer().bins.edges == model.tokenizer().bins.edges).all()
    with pytest.raises(ValueError, match="has no bins yet"):
        TrajectoryTransformer.build(model.spec, columns.facts, 0).tokenizer()


def test_bins_are_fitted_to_the_training_episodes_alone():
    columns = make_columns()
    held_out = slice(100, 120)
    fitted = make_model(columns).tokenizer().bins.edges
    columns.observations[held_out] += 100
    episodes = np.arange(5)
    partly = TrajectoryTransformer.from_columns(make_model(columns).spec, columns, episodes, 0)
    assert partly.tokenizer().bins.edges[0].max() < 50
    assert fitted[0].max() < 50
    assert make_model(columns).tokenizer().bins.edges[0].max() > 50


def test_bug_11_tokens_depend_on_the_discount_and_a_resumed_run_keeps_its_learning_rate():
    """The notebook's dataset cache forgets the discount, its optimizer checkpoint the schedule."""
    columns = make_columns()
    near, far = make_model(columns, discount=0.5), make_model(columns, discount=0.9)
    episodes = np.arange(6)
    assert not (near.batches(columns, episodes).tokens[:, -1] == far.batches(columns, episodes).tokens[:, -1]).all()
    ends, over = columns.episodes["end"].to_numpy(), columns.episodes["terminated"].to_numpy()
    values = value_targets(columns.rewards[:120], ends, over, 0.5)
    decoded = near.tokenizer().bins.decode(near.batches(columns, episodes).tokens[:120, -1:] % 4, [4])[:, 0]
    going_on = near.batches(columns, episodes).tokens[:120, -1] != near.tokenizer().end_token
    assert np.corrcoef(values[going_on], decoded[going_on])[0, 1] > 0.8

    model = TrajectoryTransformerSpec(embedding_dim=8, layers=1, heads=1, context_length=3, bins=5)
    training = TrainingSpec(
        steps=8,
        batch_size=4,
        warmup_steps=2,
        log_every=2,
        validate_every=4,
        checkpoint_every=4,
        precision="fp32",
        threads=1,
    )
    spec = RunSpec(name="a", dataset="b", model=model, training=training)
    whole = [record for record in train(spec, columns)]
    halfway = next(record.checkpoint for record in whole if record.checkpoint and record.step == 4)
    resumed = [record for record in train(spec, columns, state=halfway.training)]
    for name, weight in whole[-1].checkpoint.weights.items():
        assert torch.equal(weight, resumed[-1].checkpoint.weights[name]), name
    assert whole[-1].values["learning_rate"] == resumed[-1].values["learning_rate"]
    assert {"validation_accuracy_action", "accuracy_reward", "validation_loss_value"} <= set(whole[-1].values)


def test_training_learns_what_the_data_repeat():
    """Actions follow from the first observation's sign; after some steps the model says so."""
    columns = make_columns(action=discrete(2))
    columns.actions[:] = columns.observations[:, 0] > 0
    model = TrajectoryTransformer.from_columns(
        TrajectoryTransformerSpec(embedding_dim=32, layers=1, heads=2, context_length=3, bins=8, dropout=0.0),
        columns,
        np.arange(6),
        seed=0,
    )
    batches = model.batches(columns, np.arange(6))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(60):
        optimizer.zero_grad()
        loss, measures = model.loss(batches.sample(32, 0, step), noise=DropoutNoise(0.0, 0, step))
        loss.backward()
        optimizer.step()
    assert measures["accuracy_action"] > 0.95
