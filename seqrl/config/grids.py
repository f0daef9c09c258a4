"""Grids: the same training with several values of some settings, and several seeds of each."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from seqrl.config.base import Name, Spec, setting
from seqrl.config.sweeps import parse_numbers
from seqrl.config.training import RunSpec

MOST_RUNS = 64
"""Runs of one grid: as many as one sweep measures."""

LONGEST_NAME = 64
_FIXED = {
    "name": "name the grid with --name",
    "seed": "choose how many seeds with --seeds",
    "dataset": "train one grid on each dataset",
    "preset": "choose one with --preset",
    "model.kind": "train one grid for each model",
}

Value = bool | int | float | str | None


class GridAxis(Spec):
    """A setting and the values that it takes."""

    setting: Annotated[str, StringConstraints(pattern=r"^(model|training)\.[a-z_]+$")]
    values: tuple[Value, ...] = Field(min_length=1)


class GridSpec(Spec):
    """Every combination of some settings' values, each trained with every seed.

    Build it with `GridSpec.of`, which refuses what cannot be trained and writes values as the specs do.
    """

    name: Name = setting(..., "Grid", "How the grid is called; its runs are named after it.")
    base: RunSpec
    axes: tuple[GridAxis, ...] = ()
    seeds: tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...] = setting(
        (0,), "Seeds", "Each combination is trained once with each of them.", min_length=1
    )

    @model_validator(mode="after")
    def _nothing_is_named_twice(self) -> Self:
        names = [axis.setting for axis in self.axes]
        for what, values in [("the grid", names), ("seeds", self.seeds)] + [(a.setting, a.values) for a in self.axes]:
            repeated = next((value for i, value in enumerate(values) if value in values[:i]), None)
            if repeated is not None:
                raise ValueError(f"{what} names {repeated!r} twice; give each once")
        return self

    @classmethod
    def of(cls, base: RunSpec, axes: Mapping[str, Sequence[Value]], seeds: Sequence[int]) -> GridSpec:
        """A grid around a run's settings.

        Args:
            base: what all its runs share; its name is the grid's.
            axes: dotted setting → values, as typed.
            seeds: of every combination.

        Raises:
            ValueError: one sentence with the value and the remedy: a setting that a grid does not vary, a value that
                some run of it cannot have, too many runs, or names that are too long or alike.
        """
        for name in axes:
            if name in _FIXED:
                raise ValueError(f"a grid cannot vary {name}; {_FIXED[name]}")
            if not re.fullmatch(r"(model|training)\.[a-z_]+", name):
                raise ValueError(
                    f"a grid cannot vary {name!r}; name a setting of the model or the training, "
                    "such as model.context_length"
                )
        check_size(math.prod(len(values) for values in axes.values()) * len(seeds))
        made = [
            _with_settings(base, dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())
        ]
        written = {name: tuple(dict.fromkeys(value_at(run, name) for run in made)) for name in axes}
        for name, values in axes.items():
            if len(written[name]) < len(values):
                shown = ", ".join(map(str, values))
                raise ValueError(f"{name} is {shown}, which names a value twice; give each once")
        grid = cls(
            name=base.name,
            base=base,
            axes=tuple(GridAxis(setting=name, values=values) for name, values in written.items()),
            seeds=tuple(seeds),
        )
        grid.check_names()
        return grid

    @property
    def size(self) -> int:
        """How many runs it has."""
        return math.prod(len(axis.values) for axis in self.axes) * len(self.seeds)

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings that it varies."""
        return tuple(axis.setting for axis in self.axes)

    def check_names(self) -> None:
        """Refuse a grid whose runs would have names that are too long, or the same.

        Raises:
            ValueError: with the longest name that the grid may have.
        """
        names = [self.run_name(values, seed) for values, seed in self._points()]
        longest = max(names, key=len)
        if len(longest) > LONGEST_NAME:
            room = LONGEST_NAME - len(longest) + len(self.name)
            remedy = f"name the grid with at most {room} letters" if room > 0 else "vary fewer settings"
            raise ValueError(
                f"a run of the grid would be called {longest}, which has {len(longest)} letters of {LONGEST_NAME}; "
                f"{remedy}"
            )
        repeated = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if repeated is not None:
            raise ValueError(f"two runs of the grid would be called {repeated}; leave one of their values out")

    def cells(self) -> tuple[RunSpec, ...]:
        """The runs that it consists of, the seeds of a combination one after the other.

        Raises:
            ValidationError: if a combination of values is none that a model or training can have.
        """
        return tuple(self._cell(values, seed) for values, seed in self._points())

    def run_name(self, values: Sequence[Value], seed: int) -> str:
        """How a run is called: ``GRID-cl5-lr0.001-seed0`` for a context length of 5 and a learning rate of 0.001."""
        short = short_settings(self.settings)
        told = [short_value(short[name], value) for name, value in zip(self.settings, values, strict=True)]
        return "-".join([self.name, *told, f"seed{seed}"])

    def _points(self) -> Iterator[tuple[tuple[Value, ...], int]]:
        for values in itertools.product(*(axis.values for axis in self.axes)):
            for seed in self.seeds:
                yield values, seed

    def _cell(self, values: Sequence[Value], seed: int) -> RunSpec:
        changes = dict(zip(self.settings, values, strict=True))
        return _with_settings(self.base, changes, name=self.run_name(values, seed), seed=seed)


def check_size(runs: int) -> None:
    """Refuse a grid of too many runs.

    Raises:
        ValueError: with the number.
    """
    if runs > MOST_RUNS:
        raise ValueError(
            f"the grid has {runs:,} runs; choose at most {MOST_RUNS}, as many as one sweep measures, "
            "with fewer values or seeds"
        )


def value_at(spec: RunSpec, name: str) -> Value:
    """The value of a setting such as ``training.learning_rate``."""
    group, _, leaf = name.partition(".")
    value: Value = getattr(getattr(spec, group), leaf)
    return value


def parse_axis(text: str) -> tuple[str, tuple[Value, ...]]:
    """Read ``model.context_length=1,5,10``; the values as `parse_values` takes them.

    Raises:
        ValueError: if there are no values.

    >>> parse_axis("model.context_length=1,5,10:20:5")
    ('model.context_length', (1, 5, 10.0, 15.0, 20.0))
    """
    name, equals, values = text.partition("=")
    if not equals or not name.strip():
        raise ValueError(f"--grid {text!r} has no values; write for example --grid model.context_length=1,5,10,20")
    return name.strip(), parse_values(values, name.strip())


def parse_values(text: str, what: str) -> tuple[Value, ...]:
    """Read values between commas: numbers, ``start:stop:step``, true, false, null or words.

    Raises:
        ValueError: if there is none, or a range is none.
    """
    values: list[Value] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        if ":" in part:
            values.extend(parse_numbers(part, what))
            continue
        try:
            value = json.loads(part)
        except (json.JSONDecodeError, RecursionError):
            value = part
        values.append(value if isinstance(value, Value) else part)
    if not values:
        raise ValueError(f"{what} has no values; write for example 1, 5, 10")
    return tuple(values)


def short_settings(names: Sequence[str]) -> dict[str, str]:
    """Settings as they stand in the names of runs: first letters of several words, one word as it is.

    Settings that would be told the same keep their words.

    >>> short_settings(["model.context_length", "model.layers"])
    {'model.context_length': 'cl', 'model.layers': 'layers'}
    """
    leaves = {name: name.partition(".")[2] for name in names}
    short = {name: "".join(word[:1] for word in leaf.split("_")) for name, leaf in leaves.items() if "_" in leaf}
    told = {name: short.get(name, leaf) for name, leaf in leaves.items()}
    alike = {text for text in told.values() if list(told.values()).count(text) > 1}
    return {name: name.replace(".", "_") if text in alike else text for name, text in told.items()}


def short_value(setting: str, value: Value) -> str:
    """A setting and its value as they stand in the name of a run.

    >>> short_value("lr", 1e-3), short_value("schedule", "cosine"), short_value("esp", None)
    ('lr0.001', 'schedule_cosine', 'esp_none')
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{setting}{value:g}" if float(f"{value:g}") == value else f"{setting}{value!r}"
    word = json.dumps(value) if isinstance(value, bool) else "none" if value is None else value
    return f"{setting}_{re.sub(r'[^A-Za-z0-9.]+', '_', word)}"


def extended(old: GridSpec, new: GridSpec) -> GridSpec:
    """The grid that holds the values and seeds of both.

    Raises:
        ValueError: if they differ in anything else, naming it.
    """
    remedy = "choose another name"
    if old.settings != new.settings:
        shown = [", ".join(grid.settings) or "nothing" for grid in (old, new)]
        raise ValueError(f"the grid {old.name} exists already and varies {shown[0]}, not {shown[1]}; {remedy}")
    before, now = (_fixed_settings(grid) for grid in (old, new))
    differing = next((name for name in {**before, **now} if before.get(name) != now.get(name)), None)
    if differing is not None:
        values = f"{differing} {before.get(differing)}, not {now.get(differing)}"
        raise ValueError(f"the grid {old.name} exists already with {values}; {remedy}")
    axes = tuple(
        GridAxis(setting=a.setting, values=tuple(dict.fromkeys((*a.values, *b.values))))
        for a, b in zip(old.axes, new.axes, strict=True)
    )
    return GridSpec(name=old.name, base=old.base, axes=axes, seeds=tuple(dict.fromkeys((*old.seeds, *new.seeds))))


def _with_settings(base: RunSpec, settings: Mapping[str, Value], **values: Any) -> RunSpec:
    dump = base.model_dump(mode="json") | values
    for name, value in settings.items():
        group, _, leaf = name.partition(".")
        dump[group][leaf] = value
    return RunSpec.model_validate(dump)


def _fixed_settings(grid: GridSpec) -> dict[str, Value]:
    """What all runs of a grid share, as dotted settings."""
    dump = grid.base.model_dump(mode="json")
    values: dict[str, Value] = {name: dump[name] for name in ("dataset",)}
    for group in ("model", "training"):
        values |= {f"{group}.{leaf}": value for leaf, value in dump[group].items()}
    return {name: value for name, value in values.items() if name not in grid.settings}
