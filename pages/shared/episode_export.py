"""Episodes to take away as films: MP4 as it was played, GIF for slides."""

from __future__ import annotations

import streamlit as st

from pages.shared.exports import file_button
from pages.shared.jobs import progress, submit
from seqrl.config import RenderJob, RenderSpec
from seqrl.store import Store


def film_buttons(store: Store, sweep: str, episode_id: int, key: str) -> None:
    """Downloads of a rendered episode; its GIF is drawn when somebody asks for it.

    Args:
        store: that has the episode.
        sweep: that it was measured in.
        episode_id: row of the sweep's episode table.
        key: prefix of the widgets.
    """
    name = f"{sweep}-episode-{episode_id}"
    film = store.media_path(sweep, episode_id)
    if film.is_file():
        file_button(film, f"{name}.mp4", "video/mp4", "MP4", "Download the video")
    gif = store.media_path(sweep, episode_id, "gif")
    if gif.is_file():
        file_button(gif, f"{name}.gif", "image/gif", "GIF", "Download the episode as a GIF, which loops in slides")
        return
    wanted = RenderJob(spec=RenderSpec(sweep=sweep, episode_id=episode_id, format="gif"))
    job = next((job for job in store.jobs() if job.kind == wanted.kind and job.job == wanted), None)
    if job is not None and job.state != "succeeded":  # a finished one whose file is gone is drawn again
        progress(job.id, f"{key}.gif")
        if not job.ended:
            return
    if st.button("GIF", icon=":material/gif_box:", type="tertiary", key=f"{key}.gif.make", help="Draw it as a GIF."):
        submit(wanted)
        st.rerun()
