"""The eleven lessons, in order."""

from __future__ import annotations

from pages.shared.lessons import comparing, deeper, reading, worlds
from pages.shared.lessons.lesson import (
    BRANDFONBRENER,
    CHEN,
    EMMONS,
    JANNER,
    KAPPEN,
    LEE,
    LEVINE,
    PASTER,
    Lesson,
)

LESSONS: tuple[Lesson, ...] = (
    Lesson(
        slug="return-to-go",
        title="What is a return-to-go?",
        question="How much reward is still to come?",
        opening=(
            "Every step of an episode pays a reward. Add up those that are *still to come*, and you have the step's "
            "**return-to-go**. It is the one number that a Decision Transformer is told about the future."
        ),
        draw=reading.return_to_go,
        formula=r"\hat R_t = \sum_{k \ge t} \gamma^{\,k-t}\, r_k",
        symbols={
            r"\hat R_t": "return-to-go of step $t$",
            r"r_k": "reward of step $k$",
            r"\gamma": "discount, 1 unless said",
        },
        sources=(CHEN,),
        terms=("return", "reward", "discount", "episode"),
    ),
    Lesson(
        slug="low-middle-high",
        title="Ask for low, middle, high",
        question="Can one and the same network play badly on request?",
        opening=(
            "These three episodes are played by the same weights. Only the request differs: how much reward the model "
            "is told to collect before the pole may fall."
        ),
        draw=reading.three_requests,
        formula=r"a_t \sim \pi_\theta(a \mid \hat R_{1:t}, s_{1:t}, a_{1:t-1}), \qquad \hat R_{t+1} = \hat R_t - r_t",
        symbols={
            r"\pi_\theta": "what the network predicts, with weights $\\theta$",
            r"\hat R_1": "the request: the target return",
            r"s_t, a_t": "what is seen and done at step $t$",
        },
        sources=(CHEN, LEE),
        terms=("target return", "action", "observation"),
        recipe="asking",
    ),
    Lesson(
        slug="greedy-or-sampled",
        title="Greedy or sampled",
        question="Should it take the likeliest action, or draw one?",
        opening=(
            "A Decision Transformer gives every action a probability. One can always take the likeliest (**greedy**), "
            "or draw from the probabilities (**sampled**). It sounds like a detail."
        ),
        draw=comparing.greedy_or_sampled,
        formula=r"a_t = \arg\max_a \pi_\theta(a \mid \cdot) \quad\text{or}\quad a_t \sim \pi_\theta(a \mid \cdot)",
        symbols={r"\arg\max_a": "the action with the highest probability", r"\sim": "drawn from"},
        sources=(CHEN, EMMONS),
        terms=("greedy", "sampled", "calibration"),
        recipe="asking",
    ),
    Lesson(
        slug="context",
        title="How much context helps",
        question="How far back does it have to look?",
        opening=(
            "The network sees the last *K* steps. More history may tell who is playing and what was tried; it also "
            "costs time, and gives more to be confused by. Here is the same training with four lengths and three "
            "seeds each."
        ),
        draw=comparing.context,
        formula=r"\pi_\theta(a_t \mid \hat R_{t-K+1:t},\, s_{t-K+1:t},\, a_{t-K+1:t-1})",
        symbols={r"K": "context length, in steps", r"\theta": "weights; another seed gives other ones"},
        sources=(CHEN,),
        terms=("context length", "attention", "calibration"),
        recipe="context",
    ),
    Lesson(
        slug="imitation",
        title="Imitating, imitating the best, asking",
        question="Is asking any better than imitating the best?",
        opening=(
            "Without return tokens the same network simply imitates (**behaviour cloning**, BC). Let it imitate only "
            "the best tenth of the episodes, and it plays well without being asked (**%BC**). What does asking add?"
        ),
        draw=comparing.cloning,
        formula=r"\max_\theta \sum_{\tau \in D} \sum_t \log \pi_\theta(a_t \mid s_{\le t}, a_{<t})"
        r"\qquad D_{10\%} = \{\tau : G(\tau) \ge q_{0.9}\}",
        symbols={
            r"D": "the data, episodes $\\tau$",
            r"G(\tau)": "return of an episode",
            r"q_{0.9}": "the return that nine tenths of the episodes stay below",
        },
        sources=(CHEN, EMMONS, BRANDFONBRENER),
        terms=("behaviour cloning", "%BC", "behaviour policy"),
        recipe="cloning",
    ),
    Lesson(
        slug="stitching",
        title="Stitching",
        question="Can it find short paths where hardly anybody walked one?",
        opening=(
            "Walkers stumbled through this graph at random; every step costs 1. Hardly any walk is short, but together "
            "they show every edge. Finding a short path from their pieces is called **stitching**."
        ),
        draw=worlds.stitching,
        formula=r"G(\tau) = -\,|\tau| \qquad d(s) = 1 + \min_{s' \in N(s)} d(s'), \quad d(\text{goal}) = 0",
        symbols={
            r"|\tau|": "steps of a walk",
            r"d(s)": "steps of the shortest path from node $s$",
            r"N(s)": "nodes that $s$ leads to",
        },
        sources=(CHEN, BRANDFONBRENER),
        terms=("stitching", "truncated", "return"),
        recipe="stitching",
    ),
    Lesson(
        slug="luck",
        title="Luck",
        question="What if the best episodes were only lucky?",
        opening=(
            "Five rounds: keep a sure point, or bet, which loses on average. The highest returns in the data all come "
            "from bets that happened to be won. What does a model do that is asked for such a return?"
        ),
        draw=worlds.luck,
        formula=r"\pi(a \mid s, \hat R) = p(a \mid s)\, \frac{p(\hat R \mid s, a)}{p(\hat R \mid s)}",
        symbols={
            r"p(a \mid s)": "how the data acts in $s$",
            r"p(\hat R \mid s, a)": "how likely the return is after action $a$, **luck included**",
        },
        sources=(PASTER, BRANDFONBRENER),
        terms=("target return", "return", "behaviour policy"),
        recipe="luck",
    ),
    Lesson(
        slug="tokens",
        title="Numbers as tokens",
        question="How many words does a number need?",
        opening=(
            "A Trajectory Transformer reads and writes *words*: each number is rounded to one of a few bins. Too few, "
            "and an angle is a guess; too many, and each is rarely seen."
        ),
        draw=deeper.tokens,
        formula=r"x \mapsto b \;\text{ with }\; e_b \le x < e_{b+1}, \qquad"
        r"\text{rms} = \sqrt{\tfrac1N \textstyle\sum_i (x_i - \bar x_{b(i)})^2}",
        symbols={
            r"e_b": "edges: evenly spaced (uniform), or with equally many numbers between them (quantile)",
            r"\bar x_b": "the number that bin $b$ stands for",
        },
        sources=(JANNER,),
        terms=("token", "bins", "uniform bins", "quantile bins"),
    ),
    Lesson(
        slug="imagining",
        title="Imagining ahead",
        question="Does it pay to think before acting?",
        opening=(
            "A Trajectory Transformer predicts everything: actions, what is seen next, rewards. So it can imagine "
            "several futures, keep the most promising (**beam search**), and take the first step of the best one."
        ),
        draw=deeper.imagining,
        formula=r"\text{score} = \sum_{h<H} \gamma^h S_h\, \hat r_{t+h} + \gamma^H S_{H-1}\, \hat V_{t+H-1}",
        symbols={
            r"H": "horizon: steps imagined ahead",
            r"\hat r, \hat V": "imagined rewards, and what is expected after them",
            r"S_h": "how likely the imagined episode has not ended before step $h$",
            r"\gamma": "discount",
        },
        sources=(JANNER,),
        terms=("beam search", "discount", "token"),
        recipe="planning",
    ),
    Lesson(
        slug="path-integral",
        title="The path-integral view",
        question="Weight all episodes by how good they were, or ask for good ones?",
        opening=(
            "Instead of asking for a return one can keep *all* episodes and weight each by the exponential of its "
            "return. A **temperature** says how strongly. Both choose from the same data, and both inherit its luck."
        ),
        draw=deeper.path_integral,
        formula=r"p_T(\tau) = \frac{p(\tau)\, e^{G(\tau)/T}}{\sum_{\tau'} p(\tau')\, e^{G(\tau')/T}}, \qquad"
        r"n_{\text{eff}} = \frac{1}{\sum_\tau p_T(\tau)^2}",
        symbols={
            r"p(\tau)": "share of an episode in the data",
            r"G(\tau)": "its return",
            r"T": "temperature: high leaves the data, low keeps the best episode",
            r"n_{\text{eff}}": "effective sample size",
        },
        sources=(KAPPEN, LEVINE, BRANDFONBRENER),
        terms=("temperature", "effective sample size", "return", "target return"),
    ),
    Lesson(
        slug="language-models",
        title="The prompt is the return",
        question="What has this to do with language models?",
        opening=(
            "A language model continues a text; what it writes depends on the prompt. A Decision Transformer continues "
            "a sequence of returns, observations and actions; **its prompt is the return**. The network is of the same "
            "kind; but it writes only the actions, and the world writes the rest."
        ),
        draw=reading.prompt,
        formula=r"(\hat R_1, s_1, a_1,\; \hat R_2, s_2, a_2,\; \dots,\; \hat R_t, s_t, \;?\,)",
        symbols={r"\hat R_t, s_t, a_t": "the three tokens of a step", "?": "the token that is predicted"},
        sources=(CHEN, LEE, JANNER),
        terms=("token", "attention", "target return"),
        recipe="asking",
    ),
)
