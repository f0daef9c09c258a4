"""``doctor``: is everything here that seqrl needs, and is what it keeps in order?"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import typer

from seqrl import __version__, jobs
from seqrl.cli.session import AsJson, Failure, Session, session, show
from seqrl.files import free_bytes

_REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
_PLENTY_BYTES = 2_000_000_000
_LITTLE_BYTES = 200_000_000


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: ``ok``, ``note`` (works without it) or ``fault``, and what to do."""

    check: str
    state: Literal["ok", "note", "fault"]
    detail: str


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Check the installation and the store, a line each with a remedy."""
    here = session(context)
    findings = [finding for check in _CHECKS for finding in check(here)]
    values = [{"check": item.check, "state": item.state, "detail": item.detail} for item in findings]
    width = max(len(item.check) for item in findings)
    show(values, as_json, "\n".join(f"{item.state:5}  {item.check:{width}}  {item.detail}" for item in findings))
    faults = [item.check for item in findings if item.state == "fault"]
    if faults:
        raise Failure(f"{len(faults)} of {len(findings)} checks found a fault: {', '.join(faults)}")


def _python(here: Session) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    remedy = "" if good else "; install Python 3.11 or newer"
    yield Finding("Python", "ok" if good else "fault", f"{version}, seqrl {__version__}{remedy}")


def _packages(here: Session) -> Iterator[Finding]:
    if not _REQUIREMENTS.is_file():
        yield Finding("packages", "note", "requirements.txt is not here, so versions were not compared")
        return
    lines = [line.partition("#")[0].strip() for line in _REQUIREMENTS.read_text().splitlines()]
    wrong = []
    pins = [line.split("==") for line in lines if "==" in line]
    for package, wanted in pins:
        try:
            found = metadata.version(package)
        except metadata.PackageNotFoundError:
            found = "missing"
        if found.partition("+")[0] != wanted:
            wrong.append(f"{package} {found} instead of {wanted}")
    if wrong:
        yield Finding("packages", "fault", f"{', '.join(wrong)}; run: pip install -r requirements.txt")
    else:
        yield Finding("packages", "ok", f"{len(pins)} packages have the versions of requirements.txt")


def _ffmpeg(here: Session) -> Iterator[Finding]:
    try:
        import imageio_ffmpeg

        version = imageio_ffmpeg.get_ffmpeg_version()
    except (ImportError, RuntimeError) as error:
        yield Finding("video", "fault", f"{error}; run: pip install imageio-ffmpeg")
    else:
        yield Finding("video", "ok", f"ffmpeg {version}")


def _mujoco(here: Session) -> Iterator[Finding]:
    """Draw one frame; drawing off screen needs a system library that pip cannot bring."""
    import gymnasium
    import numpy as np

    from seqrl.environments import make_environment

    try:
        env = make_environment("InvertedPendulum-v5", render_mode="rgb_array")
        env.reset(seed=0)
        bright = bool(np.asarray(env.render()).max())
        env.close()
    except (ValueError, RuntimeError, ImportError, AttributeError, gymnasium.error.Error) as error:
        yield Finding("MuJoCo", "note", f"cannot draw ({_first_line(error)}); install libegl1 or libosmesa6")
        return
    gl = os.environ.get("MUJOCO_GL", "the default")
    if bright:
        yield Finding("MuJoCo", "ok", f"draws off screen with {gl}")
    else:
        yield Finding("MuJoCo", "note", f"draws black with {gl}; set MUJOCO_GL to egl or osmesa")


def _chromium(here: Session) -> Iterator[Finding]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        yield Finding("Chromium", "ok", f"{found}, for the browser tests")
    else:
        yield Finding("Chromium", "note", "not found; only the browser tests need it: apt-get install chromium")


def _tensorboard(here: Session) -> Iterator[Finding]:
    try:
        yield Finding("TensorBoard", "ok", f"{metadata.version('tensorboard')}; runs write events for it")
    except metadata.PackageNotFoundError:
        yield Finding("TensorBoard", "note", "not installed; for events in runs/RUN/events: pip install tensorboard")


def _disk(here: Session) -> Iterator[Finding]:
    home = here.store.home
    free = free_bytes(home)
    state: Literal["ok", "note", "fault"] = "ok"
    remedy = ""
    if free < _LITTLE_BYTES:
        state, remedy = "fault", "; free some space, or choose another SEQRL_HOME"
    elif free < _PLENTY_BYTES:
        state, remedy = "note", "; large datasets may not fit"
    yield Finding("disk", state, f"{free / 1e9:,.1f} GB free at {home}{remedy}")
    try:
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"seqrl")
    except OSError as error:
        yield Finding("home", "fault", f"{home} cannot be written ({error.strerror}); choose another SEQRL_HOME")


def _store(here: Session) -> Iterator[Finding]:
    store = here.store
    fault = store.database.fault()
    if fault:
        remedy = "stop all jobs and restore seqrl.db from a copy; runs, sweeps and datasets are files beside it"
        yield Finding("store", "fault", f"{fault}; {remedy}")
        return
    tables = (("datasets", store.datasets()), ("runs", store.runs()), ("sweeps", store.sweeps()))
    counts = ", ".join(f"{len(rows)} {name}" for name, rows in (*tables, ("policies", store.policies())))
    yield Finding("store", "ok", f"{store.home / 'seqrl.db'}: {counts}")
    for name, reason in sorted(store.unreadable.items()):
        yield Finding("store", "note", f"{name} was stored by another version and is left out ({reason})")


def _queue(here: Session) -> Iterator[Finding]:
    jobs.reconcile(here.store)
    running, queued = (len(here.store.jobs([state])) for state in ("running", "queued"))
    yield Finding("jobs", "ok", f"{running} running, {queued} queued, at most {jobs.job_limit(here.store)} at once")


def _demo(here: Session) -> Iterator[Finding]:
    bundle = here.store.bundle
    if bundle.sweeps:
        yield Finding("demo", "ok", f"{len(bundle.runs)} runs and {len(bundle.sweeps)} sweeps are bundled")
    else:
        yield Finding("demo", "note", "the bundled demo is missing; rebuild it with: python -m seqrl demo build")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


_CHECKS: tuple[Callable[[Session], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _ffmpeg,
    _mujoco,
    _chromium,
    _tensorboard,
    _disk,
    _store,
    _queue,
    _demo,
)
