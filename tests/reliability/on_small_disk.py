"""What happens on a disk that fills up. Run in a mount namespace of its own; says what it saw as JSON lines.

``python -m tests.reliability.on_small_disk HOME`` mounts a small disk at HOME, which goes away with the process.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from seqrl import jobs
from seqrl.config import DatasetJob, ReturnSweepJob, TrainJob
from seqrl.store import Store
from seqrl.store.columns import Columns
from tests.specs import dataset_spec, run_spec, sweep_spec

DISK_BYTES = 24 * 2**20
LARGE = {"embedding_dim": 64, "layers": 2}


def say(what, **values):
    print(json.dumps({"what": what} | values), flush=True)


def do(store, what, job):
    row = jobs.wait(store, jobs.submit(store, job).id)
    say(what, state=row.state, error=row.error)


def fill(home, leave_bytes):
    """Take all of the disk but so many bytes."""
    ballast = home / "ballast"
    ballast.unlink(missing_ok=True)
    with open(ballast, "wb") as file:
        file.write(b"\0" * max(0, shutil.disk_usage(home).free - leave_bytes))


def stored(store):
    """What was acknowledged, in numbers."""
    return {
        "fault": store.database.fault(),
        "steps": Columns.open(store.columns_folder("tiny")).steps,
        "metrics": len(store.metric_rows("run")),
        "episodes": len(store.sweep_episodes("sweep")),
        "partials": [path.name for path in store.home.rglob(".*.partial-*")],
    }


def pages():
    """Every page, drawn in this process: how it fails, and what it complains about."""
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.testing.v1 import AppTest

    begin = PagesManager.__init__

    def begin_after_navigation(self, *arguments, **keywords):
        begin(self, *arguments, **keywords)
        PagesManager.uses_pages_directory = False

    PagesManager.__init__ = begin_after_navigation  # a running server has called st.navigation before
    root = Path(__file__).parents[2]
    os.chdir(root)
    for path in map(Path, re.findall(r"pages/\w+\.py", (root / "app.py").read_text())):
        app = AppTest.from_file(str(root / "app.py"), default_timeout=120).run()
        if path.stem != "home":
            app.switch_page(f"pages/{path.name}").run()
        say(
            "page",
            name=path.stem,
            exceptions=[entry.message for entry in app.exception],
            errors=[entry.value for entry in app.error],
            headings=len(app.title),
        )


def main(home):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(home)], check=True)
    os.environ["SEQRL_HOME"] = str(home)
    store = Store(home)
    do(store, "built", DatasetJob(spec=dataset_spec()))
    do(store, "trained", TrainJob(spec=run_spec()))
    do(store, "measured", ReturnSweepJob(spec=sweep_spec()))
    say("before", **stored(store))
    fill(home, 600_000)
    do(store, "build", DatasetJob(spec=dataset_spec("large", episodes=2000)))
    do(store, "train", TrainJob(spec=run_spec("large-run", model=LARGE)))
    fill(home, 0)
    pages()
    say("during", **stored(Store(home)))
    (home / "ballast").unlink()
    do(store, "build again", DatasetJob(spec=dataset_spec("large", episodes=50)))
    do(store, "train again", TrainJob(spec=run_spec("large-run-2", model=LARGE)))
    say("after", **stored(store))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
