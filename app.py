"""The dashboard: ``streamlit run app.py``. Pages are scripts in ``pages/``; what they share is in ``pages/shared/``."""

import streamlit as st

from pages.shared.charts import load_library
from pages.shared.frame import ICON, dress, presentation_switch, problems
from pages.shared.jobs import sidebar_status
from pages.shared.tour import banner

st.set_page_config(page_title="seqrl", page_icon=ICON, layout="wide")

page = st.navigation(
    {
        "Learn": [
            st.Page("pages/home.py", title="Home", icon=":material/home:", default=True),
            st.Page("pages/lessons.py", title="Lessons", icon=":material/school:"),
            st.Page("pages/playground.py", title="Playground", icon=":material/toys_fan:"),
        ],
        "Build": [
            st.Page("pages/datasets.py", title="Datasets", icon=":material/database:"),
            st.Page("pages/bins.py", title="Bins", icon=":material/view_week:"),
            st.Page("pages/train.py", title="Train", icon=":material/model_training:"),
            st.Page("pages/runs.py", title="Runs", icon=":material/monitoring:"),
        ],
        "Compare": [
            st.Page("pages/rtg_sweep.py", title="RTG sweep", icon=":material/target:"),
            st.Page("pages/beam_planning.py", title="Beam planning", icon=":material/account_tree:"),
            st.Page("pages/episode_lab.py", title="Episode lab", icon=":material/biotech:"),
            st.Page("pages/open_loop.py", title="Open loop", icon=":material/compare_arrows:"),
        ],
    }
)
# What every page needs stands before the page: a page that has nothing to show ends the run where it is.
dress()
load_library()
with problems():
    sidebar_status()
    presentation_switch()
    banner()
    page.run()
