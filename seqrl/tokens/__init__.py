"""Numbers as tokens: bins of every dimension, the token layout of one transition, and figures about both.

Janner et al. 2021 ("Offline Reinforcement Learning as One Big Sequence Modeling Problem"), section 3.1.
"""

from seqrl.tokens.discretizer import Discretizer, Strategy, fit_discretizer
from seqrl.tokens.fitting import fit_numbers, fit_tokenizer
from seqrl.tokens.inspection import DimensionFigures, error_by_bins, inspect_tokens
from seqrl.tokens.subsets import restricted_layout, restricted_tokenizer, token_numbers
from seqrl.tokens.transitions import (
    TokenDimension,
    TransitionLayout,
    TransitionTokenizer,
    dataset_tokens,
    transition_layout,
)
from seqrl.tokens.values import value_targets

__all__ = [
    "DimensionFigures",
    "Discretizer",
    "Strategy",
    "TokenDimension",
    "TransitionLayout",
    "TransitionTokenizer",
    "dataset_tokens",
    "error_by_bins",
    "fit_discretizer",
    "fit_numbers",
    "fit_tokenizer",
    "inspect_tokens",
    "restricted_layout",
    "restricted_tokenizer",
    "token_numbers",
    "transition_layout",
    "value_targets",
]
