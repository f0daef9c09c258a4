"""Episodes to take away as films: MP4 as it was played, GIF for slides."""

from __future__ import annotations

import streamlit as st

from pages.shared.exports import file_button
from pages.shared.jobs import progress, submit, unfinished
from pages.shared.sweep_view import Recorded, film
from seqrl.config import RenderJob, RenderSpec
from seqrl.store import SweepRow


def film_buttons(sweep: SweepRow | Recorded, episode_id: int, key: str) -> None:
    """Downloads of a rendered episode; its GIF is drawn when somebody asks for it.

    Args:
        sweep: that it was measured in, or the dataset that it is part of.
        episode_id: row of the episode table.
        key: prefix of the widgets.
    """
    name = f"{sweep.name}-episode-{episode_id}"
    video, gif = film(sweep, episode_id), film(sweep, episode_id, "gif")
    if video.is_file():
        file_button(video, f"{name}.mp4", "video/mp4", "MP4", "Download the video")
    if gif.is_file():
        file_button(gif, f"{name}.gif", "image/gif", "GIF", "Download the episode as a GIF, which loops in slides")
        return
    wanted = RenderJob(spec=RenderSpec(sweep=sweep.name, episode_id=episode_id, format="gif"))
    job = unfinished(wanted)
    if job is not None:
        progress(job.id, f"{key}.gif")
        if not job.ended:
            return
    if st.button("GIF", icon=":material/gif_box:", type="tertiary", key=f"{key}.gif.make", help="Draw it as a GIF."):
        submit(wanted)
        st.rerun()
