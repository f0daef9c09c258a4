"""Sequence models: one causal transformer, and what acts and plans on top of it."""
