"""How good a policy became, and which of its snapshots are tiers."""

from seqrl import plots


def test_the_tiers_are_named_where_they_are():
    info = plots.policy_progress_info([0, 100, 200, 300], [-5.0, 40.0, 120.0, 90.0], best=200, medium=100)
    figure = plots.policy_progress(info, "dark")
    assert {(note.text, note.x, note.y) for note in figure.layout.annotations} == {
        ("expert", 200.0, 120.0),
        ("medium", 100.0, 40.0),
    }
    assert list(figure.data[0].y) == [-5.0, 40.0, 120.0, 90.0]
    told = plots.sentence(info)
    assert told == "Its best snapshot, after 200 steps, collects 120; the medium one, after 100 steps, 40."


def test_one_snapshot_is_the_best_and_nothing_else():
    info = plots.policy_progress_info([0], [3.0], best=0, medium=0)
    assert info.marked == {0: "expert"}
    assert plots.sentence(info).endswith("collects 3; there is none of medium quality yet.")
    empty = plots.policy_progress_info([], [], 0, 0)
    assert plots.sentence(empty) == "No snapshot is kept yet."
    assert plots.policy_progress(empty).layout.annotations[0].text == "No snapshot is kept yet."
