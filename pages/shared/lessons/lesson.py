"""What a lesson is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from seqrl.store import Store


class Missing(Exception):
    """What a lesson shows is not on this machine; the text says what that is."""


@dataclass(frozen=True)
class Link:
    """A place in the product that shows exactly what a lesson showed.

    Attributes:
        label: verb first.
        page: its script.
        query: its state.
        icon: Material symbol.
    """

    label: str
    page: str
    query: Mapping[str, str]
    icon: str = ":material/arrow_forward:"


@dataclass(frozen=True)
class Told:
    """What a lesson's picture showed.

    Attributes:
        notice: what to notice, computed from the figures.
        links: where the same stands in the product.
        command: what made bundled records, if they were shown.
    """

    notice: str
    links: tuple[Link, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class Lesson:
    """One question and its answer.

    Attributes:
        slug: its name in the address.
        title: its name in lists.
        question: that it answers.
        opening: two or three plain sentences.
        draw: draws controls and picture, and says what to notice; raises `Missing` without its records.
        formula: LaTeX, or empty.
        symbols: LaTeX of a symbol → what it means.
        sources: papers, as "authors (year), title".
        terms: of the glossary, that open under the opening.
        recipe: the experiment in `seqrl.registry.lessons.RECIPES` that made its records, or None.
    """

    slug: str
    title: str
    question: str
    opening: str
    draw: Callable[[Store], Told]
    formula: str = ""
    symbols: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    recipe: str | None = None


CHEN = "Chen et al. (2021), Decision Transformer: reinforcement learning via sequence modeling"
JANNER = "Janner, Li and Levine (2021), Offline reinforcement learning as one big sequence modeling problem"
BRANDFONBRENER = (
    "Brandfonbrener et al. (2022), When does return-conditioned supervised learning work for offline reinforcement "
    "learning?"
)
EMMONS = "Emmons et al. (2022), RvS: what is essential for offline RL via supervised learning?"
LEE = "Lee et al. (2022), Multi-game Decision Transformers"
PASTER = "Paster, McIlraith and Ba (2022), You can't count on luck"
LEVINE = "Levine (2018), Reinforcement learning and control as probabilistic inference"
KAPPEN = "Kappen (2005), Path integrals and symmetry breaking for optimal control theory"
