"""What happens on a disk that fills up. Run in a mount namespace of its own; says what it saw as JSON lines.

``python -m tests.reliability.on_small_disk HOME`` mounts a small disk at HOME, which goes away with the process.
"""

import json
import os
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
    from tests.reliability.drawing import PAGES, draw

    for name in PAGES:
        app = draw(name)
        say(
            "page",
            name=name,
            exceptions=[entry.message for entry in app.exception],
            errors=[entry.value for entry in app.error],
            headings=len(app.title),
        )


def upload(store):
    """What somebody is told who uploads a file now."""
    try:
        store.keep_upload("data.npz", iter([b"x" * 1000]), 10_000)
    except ValueError as error:
        say("upload", error=str(error), left=len(list(store.uploads_folder().iterdir())))


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
    upload(store)
    say("during", **stored(Store(home)))
    (home / "ballast").unlink()
    do(store, "build again", DatasetJob(spec=dataset_spec("large", episodes=50)))
    do(store, "train again", TrainJob(spec=run_spec("large-run-2", model=LARGE)))
    say("after", **stored(store))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
