"""What was imagined before a decision, and whether it came true."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.charts import chart
from pages.shared.frame import style
from seqrl import plots
from seqrl.config import DatasetFacts


def decision(steps: dict[str, np.ndarray], facts: DatasetFacts, name: str) -> None:
    """The imagined futures of one decision over what then happened, and the futures as a table.

    Args:
        steps: per-step arrays of an episode.
        facts: of the data that the model learned from, for the names.
        name: of the episode, for keys and files.
    """
    st.subheader("What it imagined", anchor=False)
    if "plan_scores" not in steps:
        st.info(
            "The plans of this episode were not kept. Choose the first episode of a point that plans, or record more "
            "episodes in a new sweep.",
            icon=":material/visibility_off:",
        )
        return
    last = len(steps["rewards"]) - 1
    key = f"decision.{name}"
    at = st.slider("Decision at step", 0, max(1, last), min(10, last), key=key, bind="query-params")
    at = min(int(at), last)
    age = int(steps["plan_age"][at])
    start = at - age
    observed = plots.observed_from_plans(steps["plan_observations"], steps["plan_age"])
    names = list(facts.observation.names)
    shown = list(range(min(4, len(names))))
    if len(names) > 4:
        chosen = st.multiselect(
            "Dimensions", names, default=names[:4], max_selections=4, key=f"dims.{name}", bind="query-params"
        )
        shown = [names.index(dimension) for dimension in chosen] or shown
    info = plots.plan_tree_info(
        steps["plan_observations"][at],
        steps["plan_scores"][at],
        observed,
        start,
        names,
        dimensions=shown,
        ends=steps["plan_ends"][at],
    )
    table = plots.candidates(
        steps["plan_scores"][at],
        steps["plan_actions"][at],
        steps["plan_returns"][at],
        names=list(facts.action.labels),
        ends=steps["plan_ends"][at],
    )
    chart(
        plots.plan_tree(info, *style()),
        f"plan-{name}",
        f"Futures imagined at step {start} over what then happened",
        plots.sentence(info),
        table=table,
    )
    st.dataframe(
        table.assign(ends_after=table["ends_after"].astype(object).where(table["ends_after"].notna(), "–")).rename(
            columns=lambda column: column.replace("_", " ")
        ),
        hide_index=True,
        height=min(38 + 35 * len(table), 250),
        column_config={
            "score": st.column_config.NumberColumn(
                format="%.4g",
                help="The rewards that it imagines, discounted, and the value that it expects after them.",
            ),
            "behind": st.column_config.NumberColumn(format="%.3g", help="How much less than the best."),
            "predicted return": st.column_config.NumberColumn(
                format="%.4g", help="Undiscounted, from this decision on (reward)."
            ),
            "ends after": st.column_config.Column(help="Steps until it imagines that the episode terminates."),
        },
        alt="The futures that survived the beam search, best first",
    )


def predictions(steps: dict[str, np.ndarray], name: str) -> None:
    """Predicted against real reward over the episode; where every reward is the same, promised against real return."""
    if "predicted_reward" not in steps:
        return
    st.subheader("Did its promises come true?", anchor=False)
    if np.ptp(steps["rewards"]) > 0 or "predicted_return" not in steps:
        info = plots.predicted_reward_info(steps["predicted_reward"], steps["rewards"])
        figure, what = plots.predicted_reward(info, *style()), "Predicted against real reward of every step"
        told = plots.sentence(info)
    else:
        promise = plots.promised_return_info(steps["predicted_return"], steps["rewards"])
        figure, what = plots.promised_return(promise, *style()), "Promised against real return from every step on"
        told = plots.sentence(promise)
    chart(figure, f"predicted-{name}", what, told)
