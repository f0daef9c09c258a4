"""The dashboard: ``streamlit run app.py``. Pages are scripts in ``pages/``; what they share is in ``pages/shared/``.

Streamlit imports this file once, for the server, and runs it as a script for whatever is asked for in the browser.
"""

import streamlit as st

if __name__ != "__main__":
    from pages.shared.plotly_library import library_route
    from pages.shared.ready import making_ready

    app = st.App(__file__, lifespan=making_ready, routes=[library_route(st.get_option("server.baseUrlPath"))])
else:
    from pages.shared.charts import load_library
    from pages.shared.frame import ICON, drawn_whole, dress, presentation_switch, problems
    from pages.shared.jobs import sidebar_status
    from pages.shared.places import place_choice
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
    dress(page.url_path)
    load_library()
    with problems():
        place_choice()  # before anything that asks where jobs run: it is the way out of a choice that cannot be kept
        sidebar_status()
        presentation_switch()
        banner()
        with drawn_whole():
            page.run()
