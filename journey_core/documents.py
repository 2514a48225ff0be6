"""YAML files that users write, read into pydantic models; a mistake names file, line, key and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from journey_core.errors import TaxonomyError
from journey_core.yaml_files import read_yaml

_UNITS = ("microsecond", "millisecond", "second", "minute", "hour", "day", "week")
_DURATION = re.compile(rf"([0-9]+) ({'|'.join(_UNITS)})s?")


LONGEST = timedelta(days=36_500)


def parse_duration(value: Any) -> timedelta:
    """`30 days` → timedelta. Units: microsecond to week; whole numbers only."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"{value!r} is no duration: write `<integer> <unit>`, as `30 days`; units: {', '.join(_UNITS)}"
        )
    try:
        duration = timedelta(**{f"{match[2]}s": int(match[1])})
    except OverflowError:
        duration = timedelta.max
    if duration > LONGEST:
        raise ValueError(f"{value!r} is too long: at most {LONGEST.days} days")
    return duration


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class Document(BaseModel):
    """A part of a YAML file: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


DocumentT = TypeVar("DocumentT", bound=Document)


Mistake = tuple[tuple[int | str, ...], str]


def read_document(
    path: Path, model: type[DocumentT], mistakes: Callable[[DocumentT], Iterable[Mistake]] = lambda _: ()
) -> DocumentT:
    """Read and check one YAML file. Raises TaxonomyError naming file, line, key and what is allowed.

    `mistakes` finds what no single field can know, as (where in the file, what to say).
    """
    tree, content = read_yaml(path)
    try:
        document = model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise TaxonomyError(f"{_place(path, tree, first['loc'])}: {_say(first)}") from error
    for where, what in mistakes(document):
        raise TaxonomyError(f"{_place(path, tree, where)}: {what}")
    return document


def _place(path: Path, tree: yaml.Node | None, loc: tuple[int | str, ...]) -> str:
    """`file:line, key a.b.c`: where `loc` lies in the file, or its nearest parent that exists."""
    line = 1
    for part in loc:
        if isinstance(tree, yaml.MappingNode):
            found = [(key, value) for key, value in tree.value if key.value == str(part)]
            if not found:
                break
            line, tree = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(tree, yaml.SequenceNode) and isinstance(part, int) and part < len(tree.value):
            tree = tree.value[part]
            line = tree.start_mark.line + 1
        else:
            break
    return f"{path}:{line}, key {'.'.join(map(str, loc)) or '(whole file)'}"


def _say(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "this key is not known here"
    return str(error["msg"]).removeprefix("Value error, ")
