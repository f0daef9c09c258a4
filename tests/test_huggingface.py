"""Models of the real transformers package act alike here, and ours act alike there."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from seqrl.checkpoints import Checkpoint, load_model, save_checkpoint
from seqrl.config import (
    DatasetFacts,
    DecisionTransformerSpec,
    ReturnSummary,
    RunImportSpec,
    RunSpec,
    SpaceFacts,
    TrainingSpec,
)
from seqrl.datasets.importers import ImportRefused
from seqrl.environments import space_facts
from seqrl.huggingface import export_archive, export_huggingface, import_run
from seqrl.models.decision_transformer import DecisionTransformer
from seqrl.policies import SequencePolicy

transformers = pytest.importorskip("transformers")

STATES, ACTIONS, K = 3, 1, 6
MEAN, STD, SCALE = (0.3, -0.2, 1.0), (0.6, 0.8, 2.0), 250.0
UNUSUAL = {
    "hidden_size": 48,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 80,
    "activation_function": "gelu_new",
    "action_tanh": False,
    "max_ep_len": 300,
    "scale_attn_by_inverse_layer_idx": True,
}


def original(folder, **values):
    """A model of the real package with random weights, wpe[0] among them, saved as it saves."""
    torch.manual_seed(1)
    settings = {"state_dim": STATES, "act_dim": ACTIONS, "max_ep_len": 250, "hidden_size": 64} | values
    model = transformers.DecisionTransformerModel(transformers.DecisionTransformerConfig(**settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def spec_for(folder, **values):
    given = {"name": "r", "path": str(folder), "environment": "Pendulum-v1", "return_scale": SCALE, "context_length": K}
    given |= {"observation_mean": MEAN, "observation_std": STD}
    return RunImportSpec(**(given | values))


def imported(folder, tmp_path, **values):
    scratch, home = tmp_path / "scratch", tmp_path / "run"
    scratch.mkdir(parents=True, exist_ok=True)
    import_run(spec_for(folder, **values), None, scratch).save(home)
    return home


def original_action(model, states, actions, returns, timesteps):
    """What the package's own example does: the last K steps, normalised and scaled, the present action zero."""
    seen = slice(max(len(states) - K, 0), None)
    taken = np.concatenate([actions, np.zeros((1, ACTIONS))])[seen]
    window = {
        "states": (np.array(states)[seen] - MEAN) / STD,
        "actions": taken,
        "returns_to_go": np.array(returns)[seen, None] / SCALE,
        "rewards": np.zeros((len(taken), 1)),
    }
    tensors = {name: torch.as_tensor(value, dtype=torch.float32)[None] for name, value in window.items()}
    with torch.no_grad():
        output = model(**tensors, timesteps=torch.as_tensor(timesteps)[None, seen])
    return output.action_preds[0, -1].numpy()


@pytest.mark.parametrize(
    "settings",
    [{}, UNUSUAL, {"n_head": 2, "scale_attn_weights": False}]
    + [{"activation_function": name, "n_head": 2, "n_layer": 2} for name in ("silu", "tanh", "gelu", "gelu_fast")],
    ids=["plain", "unusual", "unscaled", "silu", "tanh", "gelu", "gelu_fast"],
)
def test_an_imported_model_acts_like_the_original_in_every_step_of_an_episode(tmp_path, settings):
    model = original(tmp_path / "hf", **settings)
    ours, spec, facts = load_model(imported(tmp_path / "hf", tmp_path))
    target = np.array([-150.0])
    policy = SequencePolicy(
        ours, spec.model, facts, seeds=[0], targets=target, sampled=np.array([False]), acting="window"
    )
    generator = np.random.default_rng(0)
    states, returns, timesteps, actions = [], [], [], np.zeros((0, ACTIONS))
    asked = float(target[0])
    for step in range(3 * K):
        state = generator.normal(size=STATES).astype(np.float32)
        states, returns, timesteps = [*states, state], [*returns, asked], [*timesteps, step]
        expected = original_action(model, states, actions, returns, timesteps)
        acted = policy.act(state[None]).actions[0]
        assert np.abs(acted - expected).max() < 1e-5
        actions = np.concatenate([actions, acted[None]])
        reward = float(generator.normal())
        policy.observe(np.array([reward]))
        asked -= reward


@pytest.mark.parametrize("settings", [{}, UNUSUAL], ids=["plain", "unusual"])
def test_exporting_an_imported_model_gives_back_all_its_outputs(tmp_path, settings):
    model = original(tmp_path / "hf", **settings)
    export_huggingface(imported(tmp_path / "hf", tmp_path), tmp_path / "out")
    again = transformers.DecisionTransformerModel.from_pretrained(tmp_path / "out").eval()
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "states": torch.randn(2, K, STATES, generator=generator),
        "actions": torch.randn(2, K, ACTIONS, generator=generator),
        "returns_to_go": torch.randn(2, K, 1, generator=generator),
        "rewards": torch.zeros(2, K, 1),
        "timesteps": torch.arange(K).repeat(2, 1),
    }
    with torch.no_grad():
        before, after = model(**inputs), again(**inputs)
    for name in ("action_preds", "state_preds", "return_preds"):
        assert torch.allclose(before[name], after[name], atol=1e-5), name
    home = imported(tmp_path / "out", tmp_path / "out", observation_mean=None, observation_std=None, environment="auto")
    assert load_model(home)[2].observation_mean == pytest.approx(MEAN)  # the export wrote its statistics down


def run_of_ours(folder, environment, **settings):
    """A run that was never trained: its weights are as good as any."""
    known = space_facts(environment)
    size = known.observation.size
    facts = DatasetFacts(
        environment=environment,
        observation=known.observation,
        action=known.action,
        episodes=2,
        steps=40,
        max_length=20,
        max_episode_steps=known.max_episode_steps,
        returns=ReturnSummary(mean=20, std=1, minimum=10, maximum=30),
        terminated_episodes=2,
        truncated_episodes=0,
        reward_minimum=1,
        reward_maximum=1,
        observation_mean=tuple(np.linspace(-0.1, 0.5, size)),
        observation_std=tuple(np.linspace(0.5, 2, size)),
        content_hash="",
    )
    model_spec = DecisionTransformerSpec(
        embedding_dim=32, layers=2, heads=2, context_length=K, rtg_gain=3.0, **settings
    )
    spec = RunSpec(name="ours", dataset="d", model=model_spec, training=TrainingSpec(steps=1))
    model = DecisionTransformer.build(model_spec, facts, seed=3)
    save_checkpoint(folder, Checkpoint(model.state_dict()), spec, facts)
    return folder


@pytest.fixture
def trained(tmp_path):
    return run_of_ours(tmp_path / "ours", "CartPole-v1")


@pytest.mark.parametrize("of_dataset", [False, True])
@pytest.mark.parametrize(
    ("environment", "head"), [("Pendulum-v1", "tanh"), ("Pendulum-v1", "linear"), ("FrozenLake-v1", "auto")]
)
def test_a_run_of_ours_comes_back_from_transformers_acting_alike(tmp_path, environment, head, of_dataset):
    before, _, facts = load_model(run_of_ours(tmp_path / "ours", environment, action_head=head))
    export_huggingface(tmp_path / "ours", tmp_path / "hf")
    spec = RunImportSpec(name="r", path=str(tmp_path / "hf"), **({"dataset": "d"} if of_dataset else {}))
    import_run(spec, facts if of_dataset else None, tmp_path).save(tmp_path / "again")
    after = load_model(tmp_path / "again")[0]
    generator = torch.Generator().manual_seed(0)
    states = torch.eye(K, facts.observation.size)[None]
    if facts.action.kind == "box":
        actions = torch.randn(1, K - 1, facts.action.size, generator=generator)
    else:
        actions = torch.randint(facts.action.categories[0], (1, K - 1), generator=generator)
    window = states, actions, torch.linspace(300, 0, K)[None], torch.arange(K)
    with torch.no_grad():
        said = [model.head.decode(model.act_logits(*window)) for model in (before, after)]
    assert torch.allclose(*said, atol=1e-5)


def test_a_run_of_ours_acts_alike_in_transformers(trained, tmp_path):
    ours, _, facts = load_model(trained)
    export_huggingface(trained, tmp_path / "hf")
    theirs = transformers.DecisionTransformerModel.from_pretrained(tmp_path / "hf").eval()
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(1, K, 4, generator=generator)
    actions = torch.randint(2, (1, K), generator=generator)
    returns = 500 * torch.rand(1, K, generator=generator)
    with torch.no_grad():
        output = theirs(
            states=(states - torch.tensor(facts.observation_mean)) / torch.tensor(facts.observation_std),
            actions=torch.nn.functional.one_hot(actions, 2).float(),
            returns_to_go=returns[..., None] / ours.return_scale,
            rewards=torch.zeros(1, K, 1),
            timesteps=torch.arange(K)[None],
        )
        logits = ours.act_logits(states, actions[:, :-1], returns, torch.arange(K))
    assert torch.allclose(output.action_preds[0, -1], logits[0], atol=1e-5)


def test_what_transformers_cannot_read_is_refused(trained, tmp_path):
    _, spec, facts = load_model(trained)
    pictures = SpaceFacts(kind="image", size=108, shape=(6, 6, 3), names=())
    about = facts.model_copy(
        update={"observation": pictures, "observation_mean": (0.0,) * 3, "observation_std": (1.0,) * 3}
    )
    model = DecisionTransformer.build(spec.model, about, seed=0)
    save_checkpoint(tmp_path / "seeing", Checkpoint(model.state_dict()), spec, about)
    with pytest.raises(ValueError, match="the observations are pictures"):
        export_huggingface(tmp_path / "seeing", tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def test_an_archive_of_a_run_comes_back_with_equal_weights(trained, tmp_path):
    archive = export_archive(trained, tmp_path / "run.zip")
    home = imported(archive, tmp_path, format="zip", environment="auto")
    before, after = load_model(trained), load_model(home)
    assert after[1].model == before[1].model and after[2] == before[2]
    for name, tensor in before[0].state_dict().items():
        assert torch.equal(tensor, after[0].state_dict()[name])


def change_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def change_tensor(folder, name, change):
    tensors = load_file(folder / "model.safetensors")
    tensors[name] = change(tensors[name])
    save_file(tensors, folder / "model.safetensors")


FAULTS = {
    "mislabelled": (lambda folder: change_config(folder, model_type="gpt2"), "model_type"),
    "wrong width": (lambda folder: change_config(folder, hidden_size=32), r"encoder\.|embed_"),
    "enormous": (lambda folder: change_config(folder, n_layer=10**9), "n_layer"),
    "unknown activation": (lambda folder: change_config(folder, activation_function="mish"), "activation_function"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json"),
    "config is a list": (lambda folder: (folder / "config.json").write_text("[]"), "config.json"),
    "cut short": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000]),
        "model.safetensors",
    ),
    "NaN": (
        lambda folder: change_tensor(folder, "embed_ln.bias", lambda tensor: tensor * float("nan")),
        "embed_ln.bias",
    ),
    "whole numbers": (
        lambda folder: change_tensor(folder, "embed_ln.bias", lambda tensor: tensor.long()),
        "embed_ln.bias",
    ),
    "pickled": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "pytorch_model.bin is pickled",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_folder_is_refused_in_one_sentence(tmp_path, fault):
    original(tmp_path / "hf", n_layer=1)
    harm, field = FAULTS[fault]
    harm(tmp_path / "hf")
    with pytest.raises(ImportRefused, match=field) as refusal:
        imported(tmp_path / "hf", tmp_path)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_weights_in_several_files_are_one_model(tmp_path):
    model = original(tmp_path / "whole", n_layer=1)
    model.save_pretrained(tmp_path / "cut", max_shard_size="40KB")
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    whole = load_model(imported(tmp_path / "whole", tmp_path / "a"))[0].state_dict()
    cut = load_model(imported(tmp_path / "cut", tmp_path / "b"))[0].state_dict()
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())
    index = tmp_path / "cut" / "model.safetensors.index.json"
    for harm, field in (
        (lambda names: names | {"encoder.ln_f.bias": "../../elsewhere.safetensors"}, "elsewhere"),
        (lambda names: names | {"encoder.ln_f.bias": "gone.safetensors"}, "gone.safetensors"),
        (lambda names: [], "weight_map"),
    ):
        values = json.loads(index.read_text())
        changed = tmp_path / "cut" / "index.json"
        index.rename(changed)
        index.write_text(json.dumps(values | {"weight_map": harm(values["weight_map"])}))
        with pytest.raises(ImportRefused, match=field):
            imported(tmp_path / "cut", tmp_path / "c")
        changed.rename(index)


def test_statistics_have_to_be_given_and_to_fit(tmp_path):
    original(tmp_path / "hf", n_layer=1)
    with pytest.raises(ImportRefused, match="observation_mean"):
        imported(tmp_path / "hf", tmp_path, observation_mean=None)
    with pytest.raises(ImportRefused, match="observation_std has 2 numbers"):
        imported(tmp_path / "hf", tmp_path, observation_std=(1.0, 1.0))
    with pytest.raises(ImportRefused, match="state_dim is 3 but observations have 4"):
        imported(
            tmp_path / "hf",
            tmp_path,
            environment="CartPole-v1",
            observation_mean=(0.0,) * 4,
            observation_std=(1.0,) * 4,
        )
