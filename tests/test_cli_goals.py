"""The whole way to goals: walks, goals in hindsight, a Decision Transformer that is told one, success by distance."""

from tests.in_process import as_json

SMALL = [
    "--set", "model.embedding_dim=32", "--set", "model.layers=1", "--set", "model.context_length=1",
    "--set", "model.dropout=0", "--set", "training.steps=150", "--set", "training.batch_size=256",
    "--set", "training.learning_rate=5e-3", "--set", "training.threads=1",
]  # fmt: skip


def test_goals_in_hindsight_teach_the_way_to_any_goal(run):
    as_json(run("dataset", "build", "--env", "seqrl/GraphGoals-v0", "--episodes", 100, "--name", "walks", "--json"))
    options = ["--stretches", 20, "--mean-steps", 3]
    seen = as_json(run("dataset", "hindsight", "walks", "--name", "seen", *options, "--json"))
    assert seen["episodes"] > 1500
    told = ["--model", "dt", "--set", "model.conditioning=goal"]
    for name, model in (("goal", told), ("bc", ["--model", "bc"])):
        as_json(run("train", "--dataset", "seen", "--name", name, *model, *SMALL, "--json"))
    swept = ["--run", "goal", "--run", "bc", "--episodes", 80, "--decoding", "greedy"]
    result = as_json(run("sweep", "rtg", *swept, "--json"))
    assert {row["target"] for row in result["points"]} == {None}
    near = {row["run"]: row["reached"] for row in result["goals"] if row["distance"] == 1.0}
    assert near["goal"] > 0.8
    assert {row["distance"] for row in result["goals"]} <= set(range(1, 12))


def test_who_has_to_be_asked_for_a_return_is_named(run):
    as_json(run("dataset", "build", "--env", "seqrl/GraphGoals-v0", "--episodes", 20, "--name", "walks", "--json"))
    few = ["--set", "training.steps=2"]
    as_json(run("train", "--dataset", "walks", "--name", "dt", "--model", "dt", *SMALL, *few, "--json"))
    code, _, error = run("sweep", "rtg", "--run", "dt", "--set", "targets=[]", "--episodes", 2)
    assert code != 0 and "targets is empty but dt has to be asked for a return" in error


def test_a_report_shows_how_far_goals_were(run, tmp_path):
    as_json(run("dataset", "build", "--env", "seqrl/GraphGoals-v0", "--episodes", 20, "--name", "walks", "--json"))
    few = ["--set", "training.steps=2", "--set", "model.conditioning=goal"]
    as_json(run("train", "--dataset", "walks", "--name", "dt", "--model", "dt", *SMALL, *few, "--json"))
    as_json(run("sweep", "rtg", "--run", "dt", "--episodes", 2, "--name", "s", "--json"))
    assert run("report", "s", "--out", tmp_path / "s.html")[0] == 0
    text = (tmp_path / "s.html").read_text()
    assert "Goals reached against their distance" in text and "steps away are reached by" in text
    assert text.count("plotly.js v") == 1  # embedded once
