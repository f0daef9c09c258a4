"""Playground: move the target, and watch the episode for it at once."""

import streamlit as st

from pages.shared.charts import chart
from pages.shared.frame import controls, empty_state, heading, open_store, style, two_columns
from pages.shared.playground import ASKED, grounds, listening_run, playground
from pages.shared.sweep_view import dataset_returns, labels, measured
from seqrl import plots
from seqrl.plots.format import number

heading("Playground", "How much do you want? Move the slider, and watch a model that was asked for exactly that.")
fitting = grounds()
if not fitting:
    empty_state(
        "Nothing was asked for yet",
        "Ask a trained model for several returns; its episodes then play here as fast as you move the slider.",
        "Ask for returns",
        "pages/rtg_sweep.py",
    )
    st.stop()
names = [row.name for row in fitting]


def forget_target() -> None:
    """Another sweep begins in its own middle."""
    st.query_params.pop(ASKED, None)


with controls():
    name = st.selectbox("Sweep", names, key="ground", bind="query-params", on_change=forget_target, width=300)
sweep = next(row for row in fitting if row.name == name)
facts = open_store().run(str(listening_run(sweep))).facts
st.markdown(
    f"The model **{listening_run(sweep)}** in {facts.environment} learned from recordings whose returns lie between "
    f"{number(facts.returns.minimum)} and {number(facts.returns.maximum)}. Nobody told it how to reach one in between."
)
ground_side, chart_side = two_columns()
with ground_side:
    playground(sweep, f"ground.{name}")
with chart_side:
    data = measured(sweep)
    info = plots.rtg_sweep_info(
        data.points,
        kinds=data.kinds,
        labels=labels(data.kinds),
        episodes=data.episodes,
        dataset_returns=dataset_returns(open_store(), sweep),
    )
    chart(
        plots.rtg_sweep(info, *style()),
        f"ground-{name}",
        "Achieved against target return",
        plots.sentence(info),
        table=data.points,
    )
