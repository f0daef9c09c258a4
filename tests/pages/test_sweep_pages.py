"""RTG sweep and Beam planning in process: what is shown of a sweep, and what a control draws anew."""

import dataclasses

import pandas as pd
import pytest
from in_app import open_page
from small_store import BEAMS, DATASET, PLANNER, SWEEP, add_planner, add_run, fill
from streamlit.errors import StreamlitAPIException

from pages.shared.sweep_view import film, on_average, returns_in_data, typical
from seqrl import jobs, plots
from seqrl.calibration import points
from seqrl.config import (
    BeamSweepJob,
    BeamSweepSpec,
    DecisionTransformerSpec,
    ReturnSweepJob,
    ReturnSweepSpec,
    parse_numbers,
)
from seqrl.registry import ENVIRONMENTS
from seqrl.store import Store
from tests.in_process import Nowhere


@pytest.mark.parametrize(
    ("page", "dots", "figure"), [("rtg_sweep", "dots", "rtg_sweep"), ("beam_planning", "beam.dots", "beam_sweep")]
)
def test_a_control_of_the_chart_draws_the_chart_alone(home, monkeypatch, page, dots, figure):
    add_planner(fill(home))
    whole, charts = [], []
    draw = getattr(plots, figure)
    monkeypatch.setattr("pages.shared.tour.banner", lambda: whole.append(page))
    monkeypatch.setattr(plots, figure, lambda *given: charts.append(draw(*given)) or charts[-1])
    app = open_page(page)
    before = len(whole), len(charts)
    app.toggle(key=dots).set_value(False).run()
    assert not app.exception
    assert (len(whole), len(charts)) == (before[0], before[1] + 1)
    single = [trace.name for trace in charts[-1].data if "single" in str(trace.name)]
    assert not single
    assert any("single" in str(trace.name) for trace in charts[-2].data)


def no_fragment(keys):
    raise StreamlitAPIException(f"No fragment found for target {keys}.")


@pytest.mark.parametrize("gone", [False, True])
def test_a_control_of_a_page_that_is_not_whole_or_left_draws_all_of_it(home, monkeypatch, gone):
    fill(home)
    app = open_page("rtg_sweep")
    whole = []
    if gone:
        monkeypatch.setattr("pages.shared.frame.st.rerun", no_fragment)
    else:
        app.session_state["page.whole"] = False
    monkeypatch.setattr("pages.shared.tour.banner", lambda: whole.append(True))
    app.toggle(key="dots").set_value(False).run()
    assert not app.exception
    assert whole


@pytest.mark.parametrize("columns", [True, False])
def test_the_form_for_a_discounted_run_suggests_discounted_targets(home, columns):
    store = fill(home, columns=columns)
    add_run(store, "dt-less", DecisionTransformerSpec(discount=0.9), store.dataset(DATASET).facts)
    app = open_page("rtg_sweep", form="1", ask="dt-less")
    targets = app.text_input(key="targets.dt-less")
    assert targets.label == "Targets (reward, discounted by 0.9 a step)"
    assert 0 <= min(parse_numbers(targets.value)) < max(parse_numbers(targets.value)) <= 10  # 1 / (1 - 0.9)
    assert not app.button(key="sweep.submit").disabled


def test_what_a_point_got_is_in_the_unit_of_its_target():
    episodes = pd.DataFrame(
        {"run": "dt", "decoding": "sampled", "target": 8.0, "achieved_return": [180.0, 190.0], "discounted_return": 9.0}
    )
    assert on_average(points(episodes).iloc[0]) == (
        "It got **9 (9 … 9)** of discounted reward on average over 2 episodes (95% interval)"
    )


def test_ranges_of_a_discounted_run_are_discounted(home):
    store = fill(home)
    add_run(store, "dt-less", DecisionTransformerSpec(discount=0.9), store.dataset(DATASET).facts)
    assert 0 < returns_in_data(store.run("dt-less")).max() <= 10 < returns_in_data(store.run("dt-poles")).max()


def test_a_sweep_form_refuses_targets_that_are_no_numbers(home):
    fill(home)
    app = open_page("rtg_sweep")
    app.button(key="form.toggle").click().run()
    app.text_input(key="targets.dt-poles").set_value("20, high").run()
    assert "'high' is neither a number nor start:stop:step" in app.error[0].value
    assert app.button(key="sweep.submit").disabled


def test_a_sweep_opens_at_the_middle_target(home):
    fill(home)
    app = open_page("rtg_sweep")
    assert app.selectbox(key="sweep").value == SWEEP
    assert app.selectbox(key="point").value == "dt-poles · sampled · 40"
    assert len(app.selectbox(key="episode").options) == 4


@pytest.mark.parametrize(
    ("page", "key", "sweep"),
    [("rtg_sweep", "sweep", SWEEP), ("beam_planning", "beams", BEAMS)],
)
def test_a_sweep_is_put_away_and_brought_back(home, page, key, sweep):
    store = fill(home)
    add_planner(store)
    app = open_page(page)
    app.button(key="sweep.archive").click().run()
    assert sweep not in [row.name for row in store.sweeps()]
    assert not app.exception and not app.error
    app = open_page(page)
    app.button(key=f"restore.{sweep}").click().run()
    assert sweep in [row.name for row in store.sweeps()]
    assert app.selectbox(key=key).value == sweep


def test_every_target_of_the_demo_has_a_film_that_nobody_has_to_draw(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQRL_HOME", str(tmp_path))
    store = Store(tmp_path)
    sweep, table = store.sweep("demo/rtg"), store.sweep_episodes("demo/rtg")
    asked = table[(table["run"] == "demo/dt") & (table["decoding"] == "sampled")]
    for _, group in asked.groupby("target"):
        assert film(sweep, typical(sweep, group)).is_file()


@pytest.mark.parametrize("luck", ["", "The dice decide."])
def test_a_sweep_says_what_luck_does_where_there_is_any(luck, home, monkeypatch):
    fill(home)
    lucky = dataclasses.replace(ENVIRONMENTS["CartPole-v1"], luck=luck)
    monkeypatch.setitem(ENVIRONMENTS, "CartPole-v1", lucky)
    said = [info.value for info in open_page("rtg_sweep").info]
    assert any("The dice decide." in text for text in said) == bool(luck)


def test_a_single_episode_has_no_interval():
    point = {"n": 1, "mean": 12.5, "low": 12.5, "high": 12.5}
    assert on_average(point) == "It got **12.5** in its only episode"
    assert "(10 … 15)** on average over 4 episodes" in on_average(point | {"n": 4, "low": 10.0, "high": 15.0})


def test_a_beam_sweep_shows_the_plans_that_were_kept(home):
    add_planner(fill(home))
    app = open_page("beam_planning")
    assert app.selectbox(key="beams").value == BEAMS
    assert app.selectbox(key="beam.point").value == f"{PLANNER} · width 2 · horizon 3"
    assert [table for table in app.dataframe if "predicted return" in table.value.columns]
    app.selectbox(key="beam.episode").select("3").run()
    assert "were not kept" in app.info[-1].value


def test_a_plan_longer_than_the_shortest_horizon_is_refused(home):
    add_planner(fill(home))
    app = open_page("beam_planning")
    app.button(key="beam.form.toggle").click().run()
    app.number_input(key="beam.plan.plan_every").set_value(9).run()
    assert app.error[0].value.startswith("plan_every is 9 but")
    assert app.button(key="beam.submit").disabled


@pytest.mark.parametrize(
    ("page", "sweeps", "point", "dots", "spec"),
    [
        ("rtg_sweep", "sweep", "point", "dots", ReturnSweepSpec(name="growing", runs=("dt-poles",), targets=(20.0,))),
        ("beam_planning", "beams", "beam.point", "beam.dots", BeamSweepSpec(name="growing", runs=(PLANNER,))),
    ],
)
def test_a_sweep_names_no_point_before_it_has_one(home, page, sweeps, point, dots, spec):
    store = fill(home)
    add_planner(store)
    kind = "sweep_rtg" if page == "rtg_sweep" else "sweep_beam"
    store.add_sweep(spec, kind=kind)
    app = open_page(page)
    app.selectbox(key=sweeps).select(SWEEP if page == "rtg_sweep" else BEAMS).run()
    assert app.selectbox(key=point).value
    app.selectbox(key=sweeps).select("growing").run()
    assert app.selectbox(key=point).value is None  # drawn, for a list that is not drawn leaves its point in the address
    assert app.selectbox(key=point).disabled
    assert "first point" in app.info[-1].value
    rows = store.episode_record
    measured = SWEEP if page == "rtg_sweep" else BEAMS
    ids = [int(number) for number in store.sweep_episodes(measured)["episode_id"]][:2]
    store.append_episodes("growing", [rows(measured, number) for number in ids])
    app.session_state["page.whole"] = True  # so that the chart's fragment is run, as it is every second
    app.toggle(key=dots).set_value(False).run()
    assert not app.selectbox(key=point).disabled
    assert len(app.selectbox(key=point).options) == 1
    assert not any("first point" in info.value for info in app.info)


@pytest.mark.parametrize(
    ("page", "key", "job"),
    [
        ("rtg_sweep", "sweep", ReturnSweepJob(spec=ReturnSweepSpec(name="dead", runs=("dt-poles",), targets=(20.0,)))),
        ("beam_planning", "beams", BeamSweepJob(spec=BeamSweepSpec(name="dead", runs=(PLANNER,)))),
    ],
)
def test_a_sweep_that_ended_before_its_first_point_says_so_and_can_be_put_away(home, monkeypatch, page, key, job):
    monkeypatch.setattr(jobs.LocalBackend, "start", Nowhere.start)
    store = fill(home)
    add_planner(store)
    row = jobs.submit(store, job)
    app = open_page(page, **{key: "dead"})
    assert "first point appears" in app.info[-1].value
    assert "sweep.archive" not in {button.key for button in app.button}
    jobs.cancel(store, row.id)
    app = open_page(page, **{key: "dead"})
    assert app.info[-1].value.startswith("It ended before its first point. Start a new sweep")
    assert "Report" not in {button.proto.label for button in app.get("download_button")}
    app.button(key="sweep.archive").click().run()
    assert not app.exception and app.selectbox(key=key).value != "dead"
