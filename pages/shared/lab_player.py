"""Episodes on one time axis, frame by frame: pictures, strips and one scrubber that moves in the browser alone.

The browser holds every frame (`frames.js`), so a step takes milliseconds; the server hears of a step when it was let
go, and only then are attention and response computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from pages.shared.frame import presenting
from pages.shared.videos import EpisodeVideo

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "seqrl_lab",
    html='<div class="lab" tabindex="0" role="group" aria-label="Episode: arrow keys step, space plays">\n</div>',
    css=(_HERE / "lab_player.css").read_text(),
    js="".join((_HERE / part).read_text() for part in ("elements.js", "frames.js", "strips.js", "lab_player.js")),
)


def step_through(
    episodes: Sequence[EpisodeVideo],
    key: str,
    *,
    visit: str,
    start: int,
    on_step: Callable[[int], None],
    on_go: Callable[[int], None] | None = None,
    playing: bool = False,
) -> None:
    """Show episodes that move in step.

    Args:
        episodes: one to three.
        key: of the element.
        visit: it keeps its step as long as this stays the same.
        start: the step that it begins with.
        on_step: called with the step that was chosen, once the scrubber is let go.
        on_go: called with +1 or −1 when the next or previous episode is wished for.
        playing: whether it begins by moving.
    """

    def stepped() -> None:
        of, _, step = str((st.session_state.get(key) or {}).get("step") or "").rpartition(" ")
        if of == visit:  # not that of an episode which is gone from the screen
            on_step(int(step))

    def gone() -> None:
        by = (st.session_state.get(key) or {}).get("go")
        if on_go is not None and by:
            on_go(int(by))

    data = {
        "episodes": [episode.payload for episode in episodes],
        "fingerprint": "|".join([visit, *(episode.fingerprint for episode in episodes)]),
        "visit": visit,
        "start": start,
        "play": playing,
        "presenting": presenting(),
        "neighbours": on_go is not None,
    }
    _mount(key=key, data=data, on_step_change=stepped, on_go_change=gone)
