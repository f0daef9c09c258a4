"""Home: from the bundled demo and without a click, what asking for a return does."""

import streamlit as st

from pages.shared.charts import chart
from pages.shared.episode_view import asked_for, clip
from pages.shared.frame import empty_state, go_to, heading, link_to, open_store, presenting, style, two_columns
from pages.shared.lessons.table import LESSONS
from pages.shared.opening import shown_sweep, three_episodes
from pages.shared.playground import grounds, playground
from pages.shared.sweep_view import dataset_returns, labels, measured
from pages.shared.tour import start_button
from pages.shared.videos import play
from seqrl import plots

IDEA = (
    "A **Decision Transformer** has only read recordings: good, middling and bad episodes. From them it learns to "
    "answer one question: *what would somebody do here who is about to collect this much reward?* So you can ask it "
    "for a little, and it soon fails; or for a lot, and it plays well, if not always quite as well as you asked. "
    "The reward that is still to come is called the **return-to-go**, $\\hat R_t$."
)

NARROWEST = 340  # pixels of a column: on a projector, too, films and chart are seen without scrolling


heading(
    "Ask for a return, and watch what you get",
    "Offline reinforcement learning, seen as predicting a sequence. A return is all the reward of an episode.",
)
sweep = shown_sweep()
if sweep is None:
    st.markdown(IDEA)
    empty_state(
        "Nothing is measured yet",
        "Collect a small dataset, train a model on it, and ask it for returns; the first two take about two minutes. "
        "Or build the bundled demo on the command line: `python -m seqrl demo build`.",
        "Build a dataset",
        "pages/datasets.py",
        {"do": "Build"},
    )
    st.stop()

data = measured(sweep)
episodes = three_episodes(sweep, data)
info = plots.rtg_sweep_info(
    data.points,
    kinds=data.kinds,
    labels=labels(data.kinds),
    episodes=data.episodes,
    dataset_returns=dataset_returns(open_store(), sweep),
)
film_side, chart_side = two_columns(NARROWEST)
with film_side:
    if episodes:
        play([clip(sweep, row, title=asked_for(row), strips=False) for row in episodes], key="home.films")
    if not presenting():
        st.markdown(IDEA)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Ask for a return yourself", type="primary", icon=":material/target:", key="home.sweep"):
            go_to("pages/rtg_sweep.py", {"sweep": sweep.name})
        start_button()
        st.page_link("pages/lessons.py", label="Lessons", icon=":material/school:")
        st.page_link("pages/datasets.py", label="Build a dataset", icon=":material/database:")
        st.page_link("pages/train.py", label="Train a model", icon=":material/model_training:")
with chart_side:
    chart(
        plots.rtg_sweep(info, *style()),
        "home-rtg-sweep",
        "Achieved against target return",
        plots.sentence(info),
        table=data.points,
    )
    if sweep.name.startswith("demo/") and not presenting():
        st.caption(
            "DT is the Decision Transformer; BC (behaviour cloning) only imitates and cannot be asked. Sampled: each "
            "action is drawn from the model's probabilities. Greedy: always the likeliest action. Measured beforehand "
            "with `python -m seqrl demo build`; the videos replay three of the episodes that are dots in the chart."
        )

fitting = grounds()
if fitting:
    with film_side:  # in the same columns, since chart and films differ in height
        st.subheader("Move the target", anchor=False)
        playground(fitting[0], "home.ground")
    with chart_side:
        if not presenting():
            st.subheader("Questions to go on with", anchor=False)
            for lesson in LESSONS:
                link_to("pages/lessons.py", lesson.question, ":material/school:", {"lesson": lesson.slug})
