"""What all specs share: a frozen base, fields that explain themselves, and one-sentence errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

NAME_PATTERN = r"^(demo/)?[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""A dataset, run or sweep: letters, digits, dot, dash, underscore; ``demo/`` marks the bundled ones."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]

LARGEST_TARGET = 1e30
"""As of rewards that are imported; from 3e38 on a number is infinite in the single precision of models."""

Target = Annotated[float, Field(ge=-LARGEST_TARGET, le=LARGEST_TARGET)]


class Spec(BaseModel):
    """Base of all specs: frozen, strict about unknown fields, comparable and JSON-serialisable."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, ser_json_inf_nan="null"
    )

    def to_json(self) -> str:
        """Canonical JSON (sorted keys): equal specs have equal text, so it can be hashed."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


def setting(
    default: Any,
    title: str,
    help: str,
    *,
    unit: str = "",
    step: float | None = None,
    advanced: bool = False,
    empty: str = "automatic",
    **bounds: Any,
) -> Any:
    """A field that a form, ``--help`` and an error message can explain.

    Args:
        default: the value used when nothing is said; ``...`` makes the field required.
        title: the label, sentence case.
        help: one sentence for a first-year student.
        unit: shown behind the number ("steps", "reward", ...).
        step: increment of the number input.
        advanced: shown in the folded part of a form.
        empty: what an optional number means that is not given, in a word or two; shown in the empty field.
        **bounds: ``ge``, ``gt``, ``le``, ``lt``, ``max_length``, ``min_length`` as in `pydantic.Field`.
    """
    extra: dict[str, Any] = {"unit": unit, "step": step, "advanced": advanced, "empty": empty}
    return Field(default, title=title, description=help, json_schema_extra=extra, **bounds)


_REMEDIES = {
    "greater_than_equal": "choose at least {ge}",
    "greater_than": "choose more than {gt}",
    "less_than_equal": "choose at most {le}",
    "less_than": "choose less than {lt}",
    "literal_error": "choose one of {expected}",
    "string_pattern_mismatch": "use 1 to 64 letters, digits, dots, dashes or underscores, first a letter or digit",
    "extra_forbidden": "this setting does not exist; remove it",
    "missing": "it is required; give a value",
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
    "int_type": "give a whole number",
    "float_parsing": "give a number",
    "float_type": "give a number",
    "finite_number": "give a finite number",
    "bool_parsing": "give true or false",
    "too_short": "give at least {min_length}",
    "too_long": "give at most {max_length}",
}


def explain(error: ValidationError) -> str:
    """The first fault of a refused spec as one sentence: where, the value, the remedy.

    >>> from seqrl.config import TrainingSpec
    >>> try:
    ...     TrainingSpec(batch_size=0)
    ... except ValidationError as error:
    ...     print(explain(error))
    batch_size is 0; choose at least 1
    """
    fault = error.errors(include_url=False)[0]
    context = fault.get("ctx") or {}
    if fault["type"] in ("value_error", "assertion_error"):
        return str(context.get("error", fault["msg"]))
    *groups, leaf = fault["loc"] or ("the spec",)
    where = ".".join([str(part) for part in groups if part not in _UNION_TAGS] + [str(leaf)])
    value = repr(fault.get("input"))
    value = value if len(value) <= 80 else value[:77] + "..."
    remedy = _REMEDIES.get(fault["type"], fault["msg"][:1].lower() + fault["msg"][1:])
    remedy = remedy.format(**context) if "{" in remedy else remedy
    if fault["type"] == "missing":
        return f"{where} is missing; give a value"
    return f"{where} is {value}; {remedy}"


# pydantic puts the chosen member of a union into the location; a person did not write it.
_UNION_TAGS = {
    "spec",
    "dt",
    "bc",
    "tt",
    "rvs",
    "ppo",
    "sac",
    "policy",
    "dataset",
    "train",
    "sweep_rtg",
    "sweep_beam",
    "sweep_schedule",
    "render",
}


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted paths, as ``--set model.context_length=20`` does; values are JSON or plain text.

    Raises:
        ValueError: if an override has no ``=`` or walks through something that is not a group.

    >>> apply_overrides({"model": {"kind": "dt"}}, ["model.context_length=20"])
    {'model': {'kind': 'dt', 'context_length': 20}}
    """
    result = json.loads(json.dumps(values))
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise ValueError(f"--set {override!r} has no value; write --set group.setting=value")
        *groups, leaf = path.split(".")
        target = result
        for group in groups:
            target = target.setdefault(group, {})
            if not isinstance(target, dict):
                raise ValueError(f"--set {override!r}: {group} is a value, not a group of settings")
        try:
            target[leaf] = json.loads(text)
        except json.JSONDecodeError:
            target[leaf] = text
        except RecursionError:
            raise ValueError(f"--set {path} is nested too deep to be a setting; give a plain value") from None
    return result
