"""Small specs for tests."""

from seqrl.config import BehaviourSpec, DatasetSpec, ReturnSweepSpec, RunSpec, TrainJob


def dataset_spec(name="tiny", episodes=24, **changes):
    """A dataset that is built in a moment."""
    behaviours = (
        BehaviourSpec(tier="poor", share=0.5, policy="heuristic", epsilon=0.6),
        BehaviourSpec(tier="expert", share=0.5, policy="heuristic", epsilon=0.1),
    )
    return DatasetSpec(name=name, episodes=episodes, behaviours=behaviours, max_episode_steps=60, **changes)


def run_spec(name="run", dataset="tiny", steps=30, model=None, **training):
    """A training of a moment; one thread, so that nothing beside it changes the bits."""
    values = {
        "steps": steps,
        "batch_size": 16,
        "warmup_steps": 5,
        "log_every": 5,
        "validate_every": 10,
        "histogram_every": 20,
        "checkpoint_every": 10,
        "threads": 1,
    }
    model = {"kind": "dt", "embedding_dim": 16, "layers": 1, "context_length": 5} | (model or {})
    return RunSpec.model_validate({"name": name, "dataset": dataset, "model": model, "training": values | training})


def train_job(*arguments, **settings):
    """A training job, see `run_spec`."""
    return TrainJob(spec=run_spec(*arguments, **settings))


def sweep_spec(name="sweep", runs=("run",), targets=(20.0, 40.0), episodes=2, **changes):
    """A sweep of a moment."""
    return ReturnSweepSpec(name=name, runs=runs, targets=targets, episodes=episodes, **changes)
