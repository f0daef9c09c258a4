"""Forms made from specs: the fields' titles, units, bounds and help become widgets, and `explain` its sentences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import streamlit as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pages.shared.frame import finite
from pages.shared.plain import plain
from seqrl.config import Spec, explain, parse_numbers

Made = TypeVar("Made")


def label_of(info: FieldInfo, name: str) -> str:
    """The label of a field, with its unit unless that is said already: "Context length K (steps)"."""
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    title = info.title or name
    unit = str(extra.get("unit") or "")
    return f"{title} ({unit})" if unit and unit.lower() not in title.lower() else title


def is_advanced(info: FieldInfo) -> bool:
    """Whether the field belongs into the folded part of a form."""
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return bool(extra.get("advanced"))


def bounds_of(info: FieldInfo) -> str:
    """What the field's bounds allow, in words: "1 to 1000", "more than 0", or nothing."""
    limits = {
        kind: getattr(item, kind) for item in info.metadata for kind in ("ge", "gt", "le", "lt") if has(item, kind)
    }
    low = f"{limits['ge']:,g}" if "ge" in limits else f"more than {limits['gt']:,g}" if "gt" in limits else ""
    high = f"{limits['le']:,g}" if "le" in limits else f"less than {limits['lt']:,g}" if "lt" in limits else ""
    if low and high:
        return f"{low} to {high}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if low or high:
        return (low or f"at most {high}").replace(",", "\N{NARROW NO-BREAK SPACE}") + ("" if "more" in low else "")
    return ""


def has(item: Any, kind: str) -> bool:
    """Whether a bound of the annotated-types library is of this kind and set."""
    return getattr(item, kind, None) is not None


def help_of(info: FieldInfo) -> str:
    """The tooltip of a field: what it does, then what it may be."""
    bounds = bounds_of(info)
    return f"{info.description or ''}{f' ({bounds})' if bounds else ''}"


def plain_type(annotation: Any) -> tuple[Any, bool]:
    """The type of a field without ``None``, and whether ``None`` was allowed."""
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return (members[0] if len(members) == 1 else annotation), len(members) < len(get_args(annotation))
    return annotation, False


def field(
    spec: type[Spec],
    name: str,
    key: str,
    *,
    default: Any = ...,
    options: Iterable[str] | None = None,
    format_option: Callable[[Any], str] = str,
    bind: bool = True,
) -> Any:
    """Draw the widget of one field and return what it says, not yet validated.

    Numbers are deliberately given to the browser without bounds: a value outside is answered by the
    same sentence as everywhere else, not by the browser's own.

    Args:
        spec: the class the field belongs to.
        name: the field.
        key: of the widget; also the name in the address when ``bind``.
        default: instead of the field's own default.
        options: choose among these instead of typing.
        format_option: how an option is shown.
        bind: keep the value in the address of the page.
    """
    info = spec.model_fields[name]
    value = default if default is not ... else None if info.is_required() else info.get_default()
    kind, optional = plain_type(info.annotation)
    common: dict[str, Any] = {"key": key, "help": help_of(info), "bind": "query-params" if bind else None}
    label = label_of(info, name)
    if options is not None:
        return choice(label, list(options), value, format_option, common)
    if kind is bool:
        return st.toggle(label, bool(value), **common)
    if kind in (int, float):
        return number(label, kind, value, optional, info, common)
    if get_origin(kind) is Literal:
        return choice(label, list(get_args(kind)), value, format_option, common)
    if get_origin(kind) is tuple and get_origin(get_args(kind)[0]) is Literal:
        choices = list(get_args(get_args(kind)[0]))
        return tuple(st.pills(label, choices, selection_mode="multi", default=list(value or choices), **common) or ())
    if get_origin(kind) is tuple:
        text, extra = ", ".join(f"{item:g}" for item in value) if value else "", info.json_schema_extra
        empty = extra.get("empty") if isinstance(extra, dict) else None
        return st.text_input(label, text, placeholder=str(empty) if empty else None, **common)
    if get_origin(kind) is dict:
        return st.text_input(label, json.dumps(value) if value else "", placeholder="{}", **common)
    return st.text_input(label, value or "", **common)


def choice(label: str, options: list[Any], value: Any, show: Callable[[Any], str], common: dict[str, Any]) -> Any:
    """A few options stay visible; many go into a list."""
    if len(options) <= 4 and sum(len(show(option)) for option in options) <= 40:
        return st.segmented_control(label, options, default=value, required=True, format_func=show, **common)
    index = options.index(value) if value in options else 0 if options else None
    return st.selectbox(label, options, index=index, format_func=show, **common)


def number(label: str, kind: type, value: Any, optional: bool, info: FieldInfo, common: dict[str, Any]) -> Any:
    """A number input; an optional one may be left empty, and says what happens then in its help."""
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    step = extra.get("step")
    typed: dict[str, Any] = {"value": None if value is None else kind(value)}
    if kind is float:
        typed |= {"step": float(step) if isinstance(step, int | float) else None, "format": "%g"}
    else:
        finite(common["key"])
        typed |= {"step": int(step) if isinstance(step, int | float) else 1}
    return st.number_input(label, placeholder=str(extra.get("empty") or "") if optional else None, **typed, **common)


def fields(
    spec: type[Spec],
    prefix: str,
    *,
    skip: Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
    columns: int = 3,
    bind: bool = True,
    advanced_title: str = "More settings",
) -> dict[str, Any]:
    """Draw all fields of a spec in columns, the advanced ones folded away, and return their values.

    Args:
        spec: the class.
        prefix: put before each field's name to make its key.
        skip: fields that are drawn elsewhere.
        defaults: values to start from, instead of the class's own.
        columns: how many beside each other.
        bind: keep the values in the address of the page.
        advanced_title: heading of the folded part; empty draws everything in one grid.
    """
    shown = [name for name in spec.model_fields if name not in set(skip) and name != "kind"]
    folded = [name for name in shown if is_advanced(spec.model_fields[name])] if advanced_title else []
    plain = [name for name in shown if name not in folded]
    values: dict[str, Any] = {}

    def draw(names: list[str]) -> None:
        for start in range(0, len(names), columns):
            for column, name in zip(st.columns(columns), names[start : start + columns], strict=False):
                with column:
                    default = (defaults or {}).get(name, ...)
                    values[name] = field(spec, name, f"{prefix}{name}", default=default, bind=bind)

    draw(plain)
    if folded:
        with st.expander(advanced_title, icon=":material/tune:", key=f"{prefix}folded", on_change="rerun"):
            draw(folded)
    return values


def validated(make: Callable[[], Made]) -> tuple[Made | None, str]:
    """A spec and no sentence, or no spec and the one sentence that says what is wrong with it."""
    try:
        return make(), ""
    except ValidationError as error:
        return None, explain(error)
    except ValueError as error:
        return None, str(error)


def complain(sentence: str) -> None:
    """Show why the form cannot be submitted, right where its button is."""
    if sentence:
        st.error(plain(sentence) + ("" if sentence.endswith((".", "!", "?")) else "."), icon=":material/edit_off:")


def numbers(text: str, what: str) -> tuple[float, ...]:
    """Numbers typed as ``25, 50, 100`` or ``50:500:50``; see `seqrl.config.parse_numbers`."""
    return parse_numbers(text or "", what)
