"""What runs in the background: progress with a way to stop it, the queue, and the status line of every page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import streamlit as st

from pages.shared.forms import complain
from pages.shared.frame import open_store, problems
from pages.shared.names import name_used
from pages.shared.plain import plain
from seqrl import jobs
from seqrl.config import RenderJob
from seqrl.plots.format import count
from seqrl.processors import processors
from seqrl.store import ACTIVE_STATES, JobRow

STATES = {
    "queued": (":material/hourglass_empty:", "waiting"),
    "running": (":material/play_circle:", "running"),
    "succeeded": (":material/check_circle:", "done"),
    "failed": (":material/error:", "failed"),
    "cancelled": (":material/stop_circle:", "stopped"),
    "interrupted": (":material/pause_circle:", "interrupted"),
}
KINDS = {
    "dataset": "building dataset",
    "policy": "training the policy",
    "train": "training",
    "sweep_rtg": "sweeping",
    "sweep_beam": "planning sweep",
    "sweep_schedule": "playing episodes of",
    "render": "rendering",
    "import": "importing",
    "download": "downloading",
    "derive": "making dataset",
    "export": "writing",
    "import_run": "importing model",
    "export_run": "writing",
    "open_loop": "evaluating",
}


def doing(job: JobRow) -> str:
    """What a job does, in one word or two."""
    return KINDS.get(job.kind, job.kind.replace("_", " "))


def ago(then: float | None) -> str:
    """How long since a time in seconds since the epoch."""
    if then is None:
        return "–"
    seconds = time.time() - then
    if seconds < 3:
        return "now"
    for unit, size in (("day", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            amount = round(seconds / size)
            return f"{count(amount, 'day') if unit == 'day' else f'{amount} {unit}'} ago"
    return f"{round(seconds)} s ago"


def submit(job: object) -> JobRow | None:
    """Queue a job; a refusal is shown as its sentence."""
    try:
        row = jobs.submit(open_store(), job)  # type: ignore[arg-type]
    except ValueError as error:
        complain(str(error))
        return None
    name_used()
    return row


def progress(job_id: int, key: str, *, on_end: Callable[[JobRow], None] | None = None) -> None:
    """A bar that says what is done, how far it is and how to stop it; draws the page anew when it ends.

    Args:
        job_id: the job.
        key: prefix of the widgets.
        on_end: called once, before the page is drawn anew.
    """
    job = open_store().job(job_id)
    if job.ended:
        _ended(job, key)
        return

    @st.fragment(run_every=0.35 if job.watched else 0.7)
    @problems()
    def live() -> None:
        store = open_store()
        jobs.reconcile(store)
        job = store.job(job_id)
        if job.ended:
            if on_end is not None:
                on_end(job)
            st.rerun()
        bar, stop = st.columns([6, 1], vertical_alignment="center")
        ahead = f" · {count(_ahead(job), 'job')} ahead" if job.state == "queued" else ""
        text = f"{doing(job)} **{job.name}**: {job.message or STATES[job.state][1]}{ahead}"
        bar.progress(min(1.0, job.progress), text=text[:1].upper() + text[1:])
        stopping = job.cancel_requested is not None
        if stop.button("Stop", icon=":material/stop:", key=f"{key}.stop", width="stretch", disabled=stopping):
            stop_job(job_id)
            st.rerun(scope="fragment")

    live()


def unfinished(wanted: RenderJob) -> JobRow | None:
    """The newest job that draws exactly this, unless it did: where its film is gone since, it is drawn again."""
    job = next((job for job in open_store().jobs() if job.is_for(wanted)), None)
    return None if job is None or job.state == "succeeded" else job


def drawing(job: JobRow, key: str) -> None:
    """How far a film is; one that was stopped or failed is drawn again when somebody asks for it.

    Args:
        job: that draws it, see `unfinished`.
        key: prefix of the widgets.
    """
    progress(job.id, key)
    if job.ended and st.button("Draw it again", icon=":material/refresh:", key=f"{key}.again"):
        if submit(job.job) is not None:
            st.rerun()


def stop_job(job_id: int) -> None:
    """Stop a job; one that has just ended by itself needs no stopping."""
    store = open_store()
    if not store.job(job_id).ended:
        try:
            jobs.cancel(store, job_id)
        except ValueError:
            if not store.job(job_id).ended:
                raise


def memory_held(job: JobRow) -> None:
    """Say the largest resident set of a job that is done."""
    if job.state == "succeeded" and job.message:
        st.caption(f"{doing(job).capitalize()} {job.name} held {job.message}, mapped files included.")


def queue() -> None:
    """The jobs that run and wait, each with a way to stop it; what waits of a grid is one line."""

    @st.fragment(run_every=2)
    @problems()
    def live() -> None:
        store = open_store()
        jobs.reconcile(store)
        active = sorted(store.jobs(states=ACTIVE_STATES), key=lambda job: (job.state == "queued", job.ticket))
        if not active:
            return
        st.markdown("**Queue**")
        of = store.grids_of_jobs()
        waiting: dict[str, list[JobRow]] = {}
        for job in active:
            if job.state == "queued" and job.id in of:
                waiting.setdefault(of[job.id], []).append(job)
            else:
                _queue_line(f"{doing(job)} **{job.name}**", job.state, [job], str(job.id))
        for grid, held in waiting.items():
            _queue_line(f"{count(len(held), 'training')} of the grid **{grid}**", "queued", held, grid)

    live()


def _queue_line(what: str, state: str, held: Sequence[JobRow], key: str) -> None:
    icon, word = STATES[state]
    word = next((plain(job.message) for job in held if jobs.was_put_back(job)), word)
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        st.markdown(f"{icon} {what} · {word}", width="stretch")
        stopped = st.button("Stop", key=f"queue.stop.{key}", icon=":material/stop:", type="tertiary")
    if stopped:
        for job in reversed(held):
            stop_job(job.id)
        st.rerun(scope="fragment")


def _ahead(job: JobRow) -> int:
    waiting = open_store().jobs(states=("queued",))
    return sum(other.watched == job.watched and other.ticket < job.ticket for other in waiting)


def _ended(job: JobRow, key: str) -> None:
    store = open_store()
    if job.state == "succeeded":
        return
    icon, verb = STATES[job.state]
    why = job.error or job.message
    st.warning(f"{job.name} {'was ' if verb == 'stopped' else ''}{verb}. {plain(why[:1].upper() + why[1:])}", icon=icon)
    if jobs.can_resume(store, job) and st.button("Resume", icon=":material/play_arrow:", key=f"{key}.resume"):
        jobs.resume(store, job.id)
        st.rerun()
    log(job.id)


def log(job_id: int) -> None:
    """The end of a job's log, folded."""
    with st.expander("End of its log", icon=":material/description:"):
        st.code(jobs.log_tail(open_store(), job_id) or "The log is empty.", language=None, height=240)


def device_line() -> str:
    """What computes here."""
    return count(processors(), "processor core")


def sidebar_status() -> None:
    """The status line of every page: what computes, what runs, and the way into presentation mode."""
    jobs.reconcile(open_store())
    busy = bool(open_store().jobs(states=ACTIVE_STATES))

    @st.fragment(run_every=5 if busy else 10)
    @problems()
    def live() -> None:
        store = open_store()
        jobs.reconcile(store)
        running, queued = store.jobs(states=("running",)), store.jobs(states=("queued",))
        for job in running[:3]:
            st.progress(min(1.0, job.progress), text=f":small[{doing(job)} {job.name}]")
        waiting = f" · {len(queued)} waiting" if queued else ""
        state = f"{count(len(running), 'job')} running{waiting}" if running or queued else "no job running"
        st.caption(f"{device_line()} · {state}")

    with st.sidebar:
        live()
