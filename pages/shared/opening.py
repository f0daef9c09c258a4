"""What Home shows first: a sweep, three of its episodes, and what can be played with."""

from __future__ import annotations

import pandas as pd

from pages.shared.frame import open_store
from pages.shared.playground import grounds, listening_run, played
from pages.shared.sweep_view import Measured, dataset_returns, filmed, measured
from seqrl.store import SweepRow


def shown_sweep() -> SweepRow | None:
    """The demo's sweep; without a demo, the newest finished one."""
    rows = [row for row in open_store().sweeps() if row.kind == "sweep_rtg" and row.state == "succeeded"]
    return next((row for row in rows if row.spec.targets), None)


def three_episodes(sweep: SweepRow, data: Measured) -> list[pd.Series]:
    """The episodes that are there as videos at a low, a middle and the highest target.

    Not at the very lowest: the data holds few such episodes, and models do not follow there.
    """
    videos = filmed(sweep, data)
    targets = sorted(videos)
    chosen = list(dict.fromkeys(targets[at] for at in (len(targets) // 5, len(targets) // 2, -1))) if targets else []
    return [data.episodes[data.episodes["episode_id"] == videos[target]].iloc[0] for target in chosen]


def look_up() -> None:
    """Find all of it once, so that it is known when Home asks."""
    sweep = shown_sweep()
    if sweep is not None:
        three_episodes(sweep, measured(sweep))
        dataset_returns(open_store(), sweep)
    for ground in grounds()[:1]:
        played(ground, str(listening_run(ground)))
