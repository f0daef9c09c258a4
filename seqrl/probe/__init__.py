"""Ask a trained run what it would do: other requests or sights at the same moment, and what it looks at.

Everything is computed on the very steps that the run saw at a step of a measured episode, so the answer for the
request that was made is the answer that was given. Loading this package imports torch; pages import it inside
the function that needs it.
"""

from seqrl.probe.acting import Probe
from seqrl.probe.answers import (
    Attention,
    History,
    ResponseCurve,
    changed_observations,
    observation_dimensions,
    observation_value,
    suggested_values,
    value_names,
)
from seqrl.probe.episodes import EpisodeProbe, Loaded, ask
from seqrl.probe.planning import TokenProbe

__all__ = [
    "Attention",
    "EpisodeProbe",
    "History",
    "Loaded",
    "Probe",
    "ResponseCurve",
    "TokenProbe",
    "ask",
    "changed_observations",
    "observation_dimensions",
    "observation_value",
    "suggested_values",
    "value_names",
]
