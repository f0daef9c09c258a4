"""Environments that seqrl adds to Gymnasium's registry, when `seqrl.environments` is imported."""

from __future__ import annotations

import gymnasium


def register_environments() -> None:
    """Register what is not registered yet."""
    entries = {
        "seqrl/GraphWalk-v0": ("seqrl.environments.graph_walk:GraphWalk", 50, {}),
        "seqrl/Catch-v0": ("seqrl.environments.catch:Catch", 80, {}),
        "seqrl/GraphGoals-v0": ("seqrl.environments.graph_walk:GraphGoals", 50, {}),
        "seqrl/KeyToDoor-v0": ("seqrl.environments.key_to_door:KeyToDoor", 27, {}),
        "seqrl/Gamble-v0": ("seqrl.environments.gamble:Gamble", 20, {}),
        # Gymnasium names a variant by an id of its own, as CliffWalkingSlippery-v1; this one it lacks
        "seqrl/FrozenLakeNotSlippery-v1": (
            "gymnasium.envs.toy_text.frozen_lake:FrozenLakeEnv",
            100,
            {"map_name": "4x4", "is_slippery": False},
        ),
    }
    for name, (entry_point, max_episode_steps, kwargs) in entries.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=entry_point, max_episode_steps=max_episode_steps, kwargs=kwargs)
