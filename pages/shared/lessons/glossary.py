"""The words of this field: plain words first, then the symbol."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

TERMS: dict[str, str] = {
    "action": "What is done at a step, such as pushing the cart to the left, $a_t$.",
    "attention": "How a transformer chooses which earlier tokens to look at, as weights that sum to one.",
    "beam search": (
        "Imagining several futures side by side, and keeping only the most promising ones at every step; how many are "
        "kept is the beam width $B$, how far they reach is the horizon $H$."
    ),
    "behaviour cloning": "Imitating the data: predict the recorded action from what was seen (BC).",
    "%BC": "Behaviour cloning of the best X % of the episodes, by return.",
    "behaviour policy": "Who acted when the data was recorded; often a mixture of good and bad players.",
    "bins": "The pieces into which a range of numbers is cut, so that a number can be written as one of a few tokens.",
    "calibration": "How close the mean return of many episodes comes to what was asked for.",
    "context length": "How many steps a model sees when it acts, the present one included, $K$.",
    "discount": (
        "The factor by which a reward counts with every step that it lies ahead, $\\gamma$: 1 counts all alike, 0.99 "
        "takes off a hundredth a step."
    ),
    "Decision Transformer": (
        "A transformer that reads returns-to-go, observations and actions, and predicts the next action (DT)."
    ),
    "effective sample size": (
        "How many equally important samples would say as much as weighted ones: $1/\\sum_i w_i^2$ for weights that "
        "sum to one."
    ),
    "episode": "One game from its start to its end: observations, actions and rewards, step by step; also trajectory.",
    "greedy": "Always taking the action that the model finds likeliest.",
    "interval": (
        "Where the mean of many such episodes probably lies (95 %, bootstrap). It speaks of one trained model; another "
        "training may lie outside."
    ),
    "observation": "What is seen at a step, such as the pole's angle and speed; also called state, $s_t$.",
    "offline reinforcement learning": "Learning to act from recordings only, without trying anything out.",
    "quantile bins": "Bins that each hold equally many numbers of the data: narrow where data is dense.",
    "return": "The sum of all rewards of an episode, $G$.",
    "return-to-go": (
        "How much reward is still to come from a step on, $\\hat R_t$. In a recording it is known; while a model acts "
        "it is what is still asked for: the target less what was collected."
    ),
    "reward": "The number that the environment pays for a step, $r_t$.",
    "RTG": "Short for return-to-go.",
    "RvS": (
        "Reinforcement learning via supervised learning: a plain network that sees the present observation and the "
        "return asked for, without a history."
    ),
    "sampled": "Drawing the action from the model's probabilities, as a player of the data would choose among them.",
    "stitching": "Putting pieces of several episodes together into one that is better than each of them.",
    "target return": "The return that a model is asked for.",
    "temperature": (
        "In the path-integral view, $T$: low keeps only the best episodes, high leaves the data as it is. In sampling: "
        "1 leaves the model's probabilities as they are, less sharpens them, more flattens them."
    ),
    "token": "One item of the sequence that a transformer reads: a return, an observation, an action, or one number.",
    "Trajectory Transformer": (
        "A transformer that predicts every number of a trajectory as a token, and plans with it (TT)."
    ),
    "truncated": "Cut off by a time limit, rather than ended by what happened.",
    "uniform bins": "Bins of equal width.",
}


def popovers(terms: Sequence[str], key: str) -> None:
    """The terms of a lesson, each opening where it is used."""
    with st.container(horizontal=True, gap="small", width="content"):
        for term in terms:
            with st.popover(term, type="tertiary", icon=":material/menu_book:", key=f"{key}.term.{term}"):
                st.markdown(f"**{term}**: {TERMS[term]}")


def glossary() -> None:
    """All terms in alphabetical order."""
    wanted = st.text_input("Find a term", key="term", bind="query-params", placeholder="return-to-go", width=320)
    shown = {
        term: text
        for term, text in sorted(TERMS.items(), key=lambda pair: pair[0].lower().lstrip("%"))
        if wanted.strip().lower() in term.lower() or wanted.strip().lower() in text.lower()
    }
    if not shown:
        st.info(f"No term is like “{wanted}”. Clear the field to see all of them.", icon=":material/search_off:")
    for term, text in shown.items():
        st.markdown(f"**{term}**  \n{text}")
