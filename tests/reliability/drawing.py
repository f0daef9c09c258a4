"""Pages of the app drawn in this process, as a running server draws them."""

import os
import re
from pathlib import Path

from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[2]
PAGES = [Path(path).stem for path in re.findall(r"pages/\w+\.py", (ROOT / "app.py").read_text())]


def after_navigation(begin=PagesManager.__init__):
    """Make new page managers believe that ``st.navigation`` was called, as it was in a server that has drawn a page."""

    def begin_after_navigation(self, *arguments, **keywords):
        begin(self, *arguments, **keywords)
        PagesManager.uses_pages_directory = False

    return begin_after_navigation


def draw(name, **query):
    """A page, drawn once; ``SEQRL_HOME`` says of what."""
    before, folder = PagesManager.__init__, os.getcwd()
    PagesManager.__init__ = after_navigation()
    os.chdir(ROOT)
    try:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        return app if name == "home" else app.switch_page(f"pages/{name}.py").run()
    finally:
        PagesManager.__init__ = before
        os.chdir(folder)


def sentences(app):
    """What a page complains about; fails if it shows an exception, or says that it met a fault of its own."""
    assert not app.exception, app.exception[0].message
    said = [entry.value for entry in app.error]
    assert not any("a fault of seqrl itself" in text for text in said), said
    return said
