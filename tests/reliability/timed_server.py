"""``streamlit`` that also notes how long every rerun took. ``python -m tests.reliability.timed_server run app.py …``

A rerun begins when the browser's message arrives, and ends when the last of what it shows was handed to the
connection: waiting for the processor, for the interpreter's lock and for a run that is under way is part of it, drawing
in the browser is not. Each becomes a line ``SECONDS WHAT`` in the file that ``RERUNS`` names, where WHAT is ``timer``
if the page asked by itself, as its live parts do, and ``click`` otherwise.
"""

import os
import sys
import time

from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner.script_runner import ScriptRunnerEvent

FINISHED = (ScriptRunnerEvent.SCRIPT_STOPPED_WITH_SUCCESS, ScriptRunnerEvent.FRAGMENT_STOPPED_WITH_SUCCESS)
asked = {}
"""Session → when the first request came that is not answered yet, and what asked."""


def note_reruns(path):
    """Time what every session is asked for."""
    file = open(path, "a", buffering=1)
    request, handle = AppSession.request_rerun, AppSession._handle_scriptrunner_event_on_event_loop

    def timed_request(session, client_state):
        known = not (client_state and client_state.fragment_id) or session.has_fragment(client_state.fragment_id)
        if client_state and known:
            what = "timer" if client_state.is_auto_rerun else "click"
            since, before = asked.get(session.id, (time.perf_counter(), what))
            asked[session.id] = since, min(what, before)
        return request(session, client_state)

    def timed_event(session, sender, event, *arguments, **keywords):
        current = sender is session._scriptrunner
        handle(session, sender, event, *arguments, **keywords)
        if current and event in FINISHED and session.id in asked:
            since, what = asked.pop(session.id)
            print(f"{time.perf_counter() - since:.4f} {what}", file=file)

    AppSession.request_rerun, AppSession._handle_scriptrunner_event_on_event_loop = timed_request, timed_event


if __name__ == "__main__":
    from streamlit.web.cli import main

    note_reruns(os.environ["RERUNS"])
    sys.exit(main(prog_name="streamlit"))
