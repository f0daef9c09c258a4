"""Questions on the command line are the specs of the page, and their answers those of the probe."""

import numpy as np
import pytest

from tests.in_process import as_json

EPISODE = ["--sweep", "demo/rtg", "--run", "demo/dt", "--target", 200, "--decoding", "sampled", "--episode", 1]


def episode(store):
    table = store.sweep_episodes("demo/rtg")
    at = (table["run"] == "demo/dt") & (table["decoding"] == "sampled") & (table["target"] == 200)
    return table[at & (table["episode"] == 1)].iloc[0]


def test_the_answer_to_what_was_asked_is_what_was_done(run, store):
    row = episode(store)
    steps = store.episode_steps("demo/rtg", int(row["episode_id"]))
    asked = float(steps["returns_to_go"][6])
    answer = as_json(run("response", *EPISODE, "--step", 6, "--targets", f"0,{asked},500", "--json"))
    assert answer["spec"]["episode_id"] == row["episode_id"]
    assert answer["spec"]["values"] == [0.0, asked, 500.0]
    point = answer["points"][1]
    assert point["return_to_go"] == asked
    chances = [point["push left"], point["push right"]]
    assert np.allclose(chances, steps["action_probabilities"][6], atol=2e-3)  # bundled ones are half precision


def test_a_dimension_is_tried_where_the_data_lies(run):
    answer = as_json(run("response", *EPISODE, "--step", 6, "--dimension", "pole angle", "--json"))
    assert answer["varied"] == "pole angle"
    assert len(answer["points"]) == len(answer["spec"]["values"]) == 61
    assert all(row["push left"] + row["push right"] == pytest.approx(1) for row in answer["points"])


def test_attention_of_every_head(run):
    answer = as_json(run("attention", *EPISODE, "--step", 2, "--json"))
    assert answer["tokens"] == ["R 0", "s 0", "a 0", "R 1", "s 1", "a 1", "R 2", "s 2"]
    assert all(sum(head["weights"]) == pytest.approx(1, abs=1e-4) for head in answer["heads"])
    code, out, _ = run("attention", *EPISODE, "--step", 2)
    assert code == 0
    assert "looks at" in out


def test_an_episode_is_continued_as_it_was_played(run, store):
    row = episode(store)
    step = int(row["length"]) - 3
    answer = as_json(
        run(
            "sweep", "schedule", "--run", "demo/dt", "--from", f"demo/rtg:{row['episode_id']}", "--step", step,
            "--change", f"{step}:500", "--episodes", 1, "--json",
        )
    )  # fmt: skip
    constant, changed = answer["points"]
    assert constant["schedule"] == "200"
    assert constant["mean"] == row["achieved_return"]
    assert changed["schedule"] == f"200, from step {step}: 500"
    assert changed["mean"] >= row["achieved_return"] - 3
    assert store.sweep(answer["name"]).spec.remembered == "rewritten"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["response", *EPISODE, "--step", 6], "give either --targets, such as 0:500:10, or --dimension"),
        (["response", *EPISODE, "--step", 6, "--targets", "1", "--values", "2"], "name it with --dimension"),
        (["response", *EPISODE, "--step", 6, "--dimension", "pole"], "there is no dimension named pole"),
        (["attention", *EPISODE, "--step", 100000], "step is 100000 but the episode has steps 0 to"),
        (["attention", "--sweep", "nothing", "--step", 1], "there is no sweep named nothing"),
        (
            ["attention", "--sweep", "demo/rtg", "--target", "nan", "--step", 1],
            "target is nan but the sweep demo/rtg has 25, 50, 100, 150,",
        ),
        (
            ["attention", "--sweep", "demo/rtg", "--episode", 99, "--step", 1],
            "episode is 99 but the sweep demo/rtg has 0, 1, 2,",
        ),
        (["response", *EPISODE, "--step", 6, "--targets", "nan"], "targets 'nan' is neither a number nor"),
        (
            ["response", "--sweep", "demo/rtg", "--run", "demo/bc", "--step", 6, "--targets", "1", "--json"],
            "demo/bc is not told a return; vary a dimension of what it sees",
        ),
        (
            ["response", "--sweep", "demo/compare", "--run", "demo/tt", "--step", 1, "--targets", "1", "--json"],
            "demo/tt is not told a return; vary a dimension of what it sees",
        ),
        (["report", "demo/rtg", "--out", "nowhere/it.html"], "--out is nowhere/it.html but there is no folder nowhere"),
        (
            ["sweep", "schedule", "--run", "demo/bc", "--target", 9, "--change", "5:9"],
            "demo/bc takes no target",
        ),
        (
            ["sweep", "schedule", "--run", "demo/dt", "--from", "demo/rtg", "--change", "5:9"],
            "--from is 'demo/rtg'; write SWEEP:EPISODE_ID",
        ),
        (
            ["sweep", "schedule", "--run", "demo/bc", "--from", "demo/rtg:0", "--change", "5:9"],
            "demo/bc takes no target",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(run, arguments, sentence):
    code, out, err = run(*arguments)
    assert code != 0
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1
