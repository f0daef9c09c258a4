import dataclasses

import numpy as np
import pytest
import torch

from seqrl.config import BehaviourCloningSpec, DecisionTransformerSpec, SpaceFacts
from seqrl.models.acting import ROWS
from seqrl.models.decision_transformer import BehaviourCloning, DecisionTransformer, largest_return
from seqrl.models.heads import CategoricalHead, GaussianHead, TanhHead, make_head
from seqrl.models.layers import DropoutNoise
from seqrl.windows import WindowBatch, Windows
from tests.windowed import SPACES, make_columns, make_facts

K = 8
MODELS = {"dt": (DecisionTransformerSpec, DecisionTransformer), "bc": (BehaviourCloningSpec, BehaviourCloning)}
CASES = [
    (kind, action, head)
    for kind in MODELS
    for action, head in [("discrete", "auto"), ("multi_discrete", "auto"), ("box", "tanh"), ("box", "gaussian")]
]


def make_model(kind="dt", action="discrete", seed=0, sharp=True, **settings):
    """A small model, by default with weights large enough to have opinions."""
    spec_class, model_class = MODELS[kind]
    spec = spec_class(**{"embedding_dim": 32, "layers": 2, "heads": 2, "context_length": K} | settings)
    model = model_class.build(spec, make_facts(action), seed)
    if sharp:
        generator = torch.Generator().manual_seed(seed + 1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.15 * torch.randn(parameter.shape, generator=generator))
    return model.requires_grad_(False)


def make_batch(action="discrete", count=6, k=K) -> WindowBatch:
    """Windows of the synthetic dataset, most of them padded."""
    return Windows(make_columns(action=action), k).sample(count, seed=0, batch=0)


def spoilt(batch: WindowBatch) -> WindowBatch:
    """The same windows with enormous nonsense in the padded steps."""
    padded = ~batch.mask
    observations, returns = batch.observations.clone(), batch.returns_to_go.clone()
    observations[padded], returns[padded] = 1e6, -1e6
    actions = batch.actions.clone()
    actions[padded] = 0 if actions.dtype == torch.int64 else 1e6
    return dataclasses.replace(batch, observations=observations, returns_to_go=returns, actions=actions)


# --- windows in, outputs out -----------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "action", "head"), CASES)
def test_bug_15_padding_influences_neither_outputs_nor_loss(kind, action, head):
    """The notebook pads on the left without a mask; the model meets states that it never saw."""
    model, batch = make_model(kind, action, action_head=head), make_batch(action)
    assert not batch.mask.all()
    real = batch.mask
    torch.testing.assert_close(model(spoilt(batch))[real], model(batch)[real], rtol=0, atol=0)
    (loss, measures), (spoilt_loss, spoilt_measures) = model.loss(batch), model.loss(spoilt(batch))
    assert loss == spoilt_loss
    assert measures == spoilt_measures


@pytest.mark.parametrize("kind", MODELS)
def test_bug_22_a_padded_window_equals_the_short_one(kind):
    model, batch = make_model(kind), make_batch()
    outputs = model(batch)
    for row, count in enumerate(batch.mask.sum(1).tolist()):
        short = WindowBatch(*(getattr(batch, f.name)[row : row + 1, :count] for f in dataclasses.fields(batch)))
        torch.testing.assert_close(model(short)[0], outputs[row, :count], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kind", "action"), [("dt", "discrete"), ("dt", "box"), ("bc", "multi_discrete")])
def test_an_action_is_predicted_from_what_came_before_it_only(kind, action):
    model, batch = make_model(kind, action), make_batch(action, count=40)
    whole = batch.mask.all(1)
    batch = WindowBatch(*(getattr(batch, f.name)[whole] for f in dataclasses.fields(batch)))
    before, step = model(batch), 3
    for field in ("observations", "actions", "returns_to_go", "timesteps"):
        value = getattr(batch, field).clone()
        value[:, step] = value[:, step] + 1 if value.is_floating_point() else (value[:, step] + 1) % 3
        moved = (model(dataclasses.replace(batch, **{field: value})) - before).abs().amax(dim=(0, 2)) > 0
        first = {"actions": step + 1}.get(field, step)  # a_t is asked for at the token before it
        if kind == "bc" and field == "returns_to_go":
            first = K
        assert moved.tolist() == [False] * first + [True] * (K - first), field


def test_the_request_is_heard():
    model, batch = make_model(rtg_gain=5.0), make_batch()
    louder = dataclasses.replace(batch, returns_to_go=batch.returns_to_go + 5)
    assert (model(louder) - model(batch)).abs().max() > 0.1


def test_statistics_travel_with_the_weights():
    model = make_model()
    assert {"observation_mean", "observation_std", "return_scale"} <= set(model.state_dict())
    restored = DecisionTransformer.from_weights(
        DecisionTransformerSpec(embedding_dim=32, layers=2, heads=2, context_length=K),
        make_facts(observation_mean=(9.0,) * 3, observation_std=(7.0,) * 3),
        model.state_dict(),
    )
    batch = make_batch()
    torch.testing.assert_close(restored(batch), model(batch), rtol=0, atol=0)


def test_observations_are_normalised_and_one_hot_ones_are_not():
    shift = make_facts(observation_mean=(4.5,) * 3)
    spec = DecisionTransformerSpec(embedding_dim=32, layers=1, context_length=K)
    plain, shifted = DecisionTransformer.build(spec, make_facts(), 0), DecisionTransformer.build(spec, shift, 0)
    batch = make_batch()
    moved = dataclasses.replace(batch, observations=batch.observations + 4)
    torch.testing.assert_close(shifted(moved), plain(batch), atol=1e-5, rtol=1e-5)
    states = SpaceFacts(kind="discrete", size=3, shape=(), names=("a", "b", "c"), categories=(3,))
    assert DecisionTransformer.build(spec, make_facts(observation=states), 0).observation_std.tolist() == [1, 1, 1]


@pytest.mark.parametrize("embedding", ["linear", "mlp"])
def test_gradients_reach_every_weight(embedding):
    model = make_model(embedding=embedding).requires_grad_(True)
    model.loss(make_batch(), noise=DropoutNoise(0.1, 0, 0), compute=torch.bfloat16)[0].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_equal_seeds_build_equal_models():
    one, same, other = (make_model(seed=seed, sharp=False) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.predict_action.weight, other.predict_action.weight)


def test_embedding_norms_are_of_the_real_tokens_by_type():
    model, batch = make_model(), make_batch()
    norms = model.embedding_norms(batch)
    assert list(norms) == ["return", "observation", "action"]
    assert model.embedding_norms(spoilt(batch)) == norms
    doubled = make_model(rtg_gain=2.0).embedding_norms(batch)
    assert doubled["return"] == pytest.approx(2 * norms["return"])
    assert list(make_model("bc").embedding_norms(batch)) == ["observation", "action"]


# --- actions and returns ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 17])
def test_bug_19_every_discrete_action_has_a_vector_of_its_own(count):
    """The notebook feeds the action as one scalar and hard-codes two of them: order would be distance."""
    space = SpaceFacts(kind="discrete", size=1, shape=(), names=("a",), categories=(count,))
    facts = make_facts().model_copy(update={"action": space})
    model = DecisionTransformer.build(DecisionTransformerSpec(context_length=4), facts, 0)
    vectors = model.embed_action(torch.arange(count))
    assert model.head.outputs == count
    assert torch.linalg.matrix_rank(vectors) == count  # a scalar times a vector, plus a bias, has rank two at most
    assert torch.cdist(vectors, vectors).fill_diagonal_(1).min() > 0.1


def test_components_of_a_multi_discrete_action_are_told_apart():
    model = make_model(action="multi_discrete")
    pairs = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    vectors = model.embed_action(pairs)
    assert torch.cdist(vectors, vectors).fill_diagonal_(1).min() > 0.1
    assert model.head.outputs == 7


def test_the_categorical_loss_is_the_mean_over_real_steps():
    head = CategoricalHead((3, 4))
    outputs, actions = torch.randn(5, 7), torch.tensor([[0, 3], [2, 1], [1, 0], [2, 2], [0, 0]])
    mask = torch.tensor([True, False, True, True, False])
    loss, measures = head.loss(outputs, actions, mask)
    first, second = outputs[:, :3].log_softmax(-1), outputs[:, 3:].log_softmax(-1)
    expected = [-(first[row, actions[row, 0]] + second[row, actions[row, 1]]) for row in (0, 2, 3)]
    assert float(loss) == pytest.approx(float(sum(expected) / 3), rel=1e-5)
    guesses = torch.stack([first.argmax(-1), second.argmax(-1)], dim=1)
    assert float(measures["accuracy"]) == pytest.approx(float((guesses == actions)[mask].all(1).float().mean()))


def test_a_tanh_head_stays_in_the_bounds_and_measures_in_half_ranges():
    head = TanhHead(SPACES["box"])
    assert head.decode(torch.tensor([[50.0, -50.0], [0.0, 0.0]])).tolist() == [[2.0, 0.0], [0.0, 0.5]]
    loss, measures = head.loss(torch.zeros(2, 2), torch.tensor([[2.0, 0.75], [9.0, 9.0]]), torch.tensor([True, False]))
    assert float(loss) == pytest.approx((1 + 0.25) / 2)
    assert float(measures["action_error"]) == pytest.approx(0.75)


def test_a_gaussian_head_is_fitted_by_its_likelihood():
    head = GaussianHead(SPACES["box"])
    outputs = torch.tensor([[0.5, -0.2, 0.3, -1.0]])
    loss, _ = head.loss(outputs, torch.tensor([[1.0, 0.9]]), torch.tensor([True]))
    normal = torch.distributions.Normal(torch.tensor([0.5, -0.2]), torch.tensor([0.3, -1.0]).exp())
    assert float(loss) == pytest.approx(-float(normal.log_prob(torch.tensor([0.5, 0.8])).mean()), rel=1e-5)
    mean, std = head.decode(outputs)[0]
    assert mean.tolist() == pytest.approx([1.0, 0.4])
    assert std.tolist() == pytest.approx([2 * np.exp(0.3), 0.5 * np.exp(-1.0)])


def test_the_head_is_chosen_by_the_actions():
    assert make_head("auto", SPACES["discrete"]).kind == "categorical"
    assert make_head("auto", SPACES["box"]).kind == "tanh"
    assert make_head("auto", SPACES["open_box"]).kind == "gaussian"
    with pytest.raises(ValueError, match="choose gaussian"):
        make_head("tanh", SPACES["open_box"])


def test_returns_are_scaled_by_the_largest_one_of_the_data():
    facts = make_facts()
    assert DecisionTransformer.build(DecisionTransformerSpec(), facts, 0).return_scale == 10
    assert DecisionTransformer.build(DecisionTransformerSpec(return_scale=3.0), facts, 0).return_scale == 3
    assert largest_return(facts, 0.5) == 2
    nothing = facts.returns.model_copy(update={"minimum": 0.0, "maximum": 0.0})
    assert largest_return(make_facts(returns=nothing), 1.0) == 1


def test_only_the_best_episodes_are_eligible_for_the_best_share_of_cloning():
    columns = make_columns()
    returns = columns.episodes["achieved_return"]
    best = BehaviourCloning.eligible_episodes(BehaviourCloningSpec(top_fraction=0.4), columns)
    assert set(best) == set(returns.nlargest(2).index)
    assert len(BehaviourCloning.eligible_episodes(BehaviourCloningSpec(), columns)) == 5


# --- acting ----------------------------------------------------------------------------------------


def history(action: str, rows: int, steps: int):
    """Imagined episodes of several rows: observations, actions, returns-to-go."""
    generator = np.random.default_rng(0)
    observations = torch.from_numpy(generator.normal(size=(rows, steps, 3)).astype(np.float32))
    returns = torch.from_numpy(generator.normal(size=(rows, steps)).astype(np.float32))
    if action == "box":
        return observations, torch.from_numpy(generator.uniform(size=(rows, steps, 2)).astype(np.float32)), returns
    if action == "multi_discrete":
        return observations, torch.from_numpy(generator.integers(3, size=(rows, steps, 2))), returns
    return observations, torch.from_numpy(generator.integers(3, size=(rows, steps))), returns


@pytest.mark.parametrize(("kind", "action", "head"), CASES)
def test_acting_with_a_cache_equals_recomputing_the_window_and_the_training_forward(kind, action, head):
    model = make_model(kind, action, action_head=head)
    observations, actions, returns = history(action, rows=5, steps=K)
    timesteps = torch.arange(K)
    mask = torch.ones(5, K, dtype=torch.bool)
    trained = model.head.decode(model(WindowBatch(observations, actions, returns, timesteps.expand(5, K), mask)))
    state = model.begin(5)
    for t in range(K):
        before = actions[:, t - 1] if t else None
        cached = model.step(state, observations[:, t], returns[:, t], before, t)
        plain = model.act_logits(observations[:, : t + 1], actions[:, :t], returns[:, : t + 1], timesteps[: t + 1])
        torch.testing.assert_close(cached, plain, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(plain, trained[:, t], atol=1e-5, rtol=1e-5)
    assert state.is_full


def test_after_a_prefill_the_context_is_the_prefilled_window():
    model = make_model()
    observations, actions, returns = history("discrete", rows=3, steps=12)
    state = model.begin(3)
    for t in range(K):
        model.step(state, observations[:, t], returns[:, t], actions[:, t - 1] if t else None, t)
    window = slice(5, 9)
    model.prefill(state, observations[:, window], actions[:, 5:8], returns[:, window], torch.arange(5, 9))
    assert state.steps == 4
    cached = model.step(state, observations[:, 9], returns[:, 9], actions[:, 8], 9)
    plain = model.act_logits(observations[:, 5:10], actions[:, 5:9], returns[:, 5:10], torch.arange(5, 10))
    torch.testing.assert_close(cached, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 17, 50])
def test_a_row_has_the_same_bits_in_any_batch(rows):
    model = make_model(embedding_dim=128, layers=3, heads=1)
    observations, actions, returns = history("discrete", rows=70, steps=4)

    def act(chosen):
        state = model.begin(len(chosen))
        for t in range(4):
            before = actions[chosen, t - 1] if t else None
            outputs = model.step(state, observations[chosen, t], returns[chosen, t], before, t)
        window = model.act_logits(observations[chosen], actions[chosen, :3], returns[chosen], torch.arange(4))
        return outputs, window

    everyone = act(list(range(70)))
    for together, few in zip(everyone, act(list(range(3, 3 + rows))), strict=True):
        assert torch.equal(together[3 : 3 + rows], few)


def test_finished_episodes_leave_and_change_nothing_for_the_others():
    model = make_model()
    observations, actions, returns = history("discrete", rows=60, steps=6)
    whole, state = model.begin(60), model.begin(60)
    running = torch.arange(60)
    for t in range(6):
        expected = model.step(whole, observations[:, t], returns[:, t], actions[:, t - 1] if t else None, t)
        before = actions[running, t - 1] if t else None
        outputs = model.step(state, observations[running, t], returns[running, t], before, t)
        assert torch.equal(outputs, expected[running])
        stays = torch.ones(len(running), dtype=torch.bool)
        stays[:: t + 2] = False
        state.keep(stays)
        running = running[stays]
    assert state.cache.rows < 60
    assert state.cache.rows % ROWS == 0


def test_a_full_context_and_a_timestep_without_an_embedding_are_errors():
    model = make_model()
    observations, _, returns = history("discrete", rows=2, steps=1)
    state = model.begin(2, max_context=1)
    with pytest.raises(ValueError, match="timestep is 30 but the model knows 30"):
        model.step(state, observations[:, 0], returns[:, 0], None, 30)
    model.step(state, observations[:, 0], returns[:, 0], None, 0)
    with pytest.raises(ValueError, match="prefill it first"):
        model.step(state, observations[:, 0], returns[:, 0], None, 1)


# --- Hugging Face ----------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [1, 4])
def test_outputs_equal_hugging_faces_with_the_same_weights(heads):
    """Theirs adds ``wpe[0]`` to every token after ``embed_ln``: it belongs into our norm's bias."""
    transformers = pytest.importorskip("transformers")
    config = transformers.DecisionTransformerConfig(
        state_dim=3,
        act_dim=2,
        hidden_size=32,
        n_layer=3,
        n_head=heads,
        max_ep_len=30,
        bos_token_id=None,
        eos_token_id=None,
    )
    theirs = transformers.DecisionTransformerModel(config).eval()
    unit_box = SpaceFacts(kind="box", size=2, shape=(2,), names=("a", "b"), low=(-1.0, -1.0), high=(1.0, 1.0))
    facts = make_facts(observation_mean=(0.0,) * 3, observation_std=(1.0,) * 3).model_copy(update={"action": unit_box})
    spec = DecisionTransformerSpec(embedding_dim=32, layers=3, heads=heads, context_length=K, return_scale=1.0)
    ours = DecisionTransformer.build(spec, facts, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
        copy_weights(theirs, ours)
        observations, actions, returns = history("box", rows=4, steps=K)
        timesteps = torch.arange(5, 5 + K).expand(4, K)
        expected = theirs(states=observations, actions=actions, returns_to_go=returns[..., None], timesteps=timesteps)
        batch = WindowBatch(observations, actions, returns, timesteps, torch.ones(4, K, dtype=torch.bool))
        torch.testing.assert_close(ours.head.decode(ours(batch)), expected.action_preds, atol=1e-5, rtol=0)
        without = ours.embed_norm.bias - theirs.encoder.wpe.weight[0]
        ours.embed_norm.bias.copy_(without)
        assert (ours.head.decode(ours(batch)) - expected.action_preds).abs().max() > 1e-2


def copy_weights(theirs, ours) -> None:
    """Hugging Face's weights into ours; their ``Conv1D`` is transposed."""
    linear = {
        ours.embed_return.input: theirs.embed_return,
        ours.embed_observation.input: theirs.embed_state,
        ours.embed_action.input: theirs.embed_action,
        ours.embed_norm: theirs.embed_ln,
        ours.transformer.norm: theirs.encoder.ln_f,
        ours.predict_action: theirs.predict_action[0],
    }
    transposed = {}
    for block, other in zip(ours.transformer.blocks, theirs.encoder.h, strict=True):
        linear |= {block.norm_1: other.ln_1, block.norm_2: other.ln_2}
        transposed |= {
            block.attention.qkv: other.attn.c_attn,
            block.attention.projection: other.attn.c_proj,
            block.expand: other.mlp.c_fc,
            block.contract: other.mlp.c_proj,
        }
    for mine, their in (linear | transposed).items():
        mine.weight.copy_(their.weight.T if mine in transposed else their.weight)
        mine.bias.copy_(their.bias)
    ours.embed_norm.bias.add_(theirs.encoder.wpe.weight[0])
    ours.embed_timestep.weight.copy_(theirs.embed_timestep.weight)
