"""The contract in columns: one DuckDB expression that is true only of records which pydantic accepts.

It is derived from the pydantic models (their core schemas), so there is no second contract to keep. It may say no to a
good record (pydantic judges that one, `contract.py`), it never says yes to a bad one, and it types every column as
pydantic reads it: law-tested in `tests/properties/test_columnar_law.py`.

How it can be certain. `from_json` takes an object apart into *leaves*, each the JSON text of one known field. What
remains unseen (unknown fields, repeated keys, explicit nulls) takes room: an object holds nothing but its leaves iff
its length is the sum of theirs, of the keys, and of the punctuation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from journey_core.events import REQUIREMENTS, BaseEvent

Node = Mapping[str, Any]  # a node of pydantic's core schema

INSTANT = r"\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)"
_TEXT_MAP = r'\{"[^"\\]*":"[^"\\]*"(,"[^"\\]*":"[^"\\]*")*\}'
# DuckDB's parser reads these as numbers, however they are written; JSON does not have them.
_NO_NUMBER = "[:,[][-+]?(?i:nan|inf)"
# Only such a number may be written shorter than its leaf (1e5, 100000.0): what has none, and no such text, has none.
_NUMBERS_TO_LOOK_AT = f"{_NO_NUMBER}|[:,[]-?[0-9]+[.eE]"
# jiter, pydantic's parser, refuses more than 200 levels, which what is shorter than this cannot hold, and integers of
# more than 4,300 digits.
_MOST_BYTES_OF_ARRAYS = 390
_MOST_BYTES_OF_A_NUMBER = 4000
# The most that RE2 repeats. A number follows these: looked for anywhere, long texts of digits would take seconds.
_MANY_DIGITS = "[:,[]-?[0-9]{1000}"
# As long as there are so few they are compared by twos: `list_unique` takes three times as long.
_FEW_KEYS = 4


def opened(records: str) -> str:
    """SQL: the rows of `records` with the `leaves` of their `text`, the `parts` within, and typed values.

    What is no JSON has no leaves. `try` takes 2,048 texts one by one where one of them is none: the usual ones, cut
    short or no JSON at all, are seen for nothing.
    """
    fields = _event_fields()
    leaves = json.dumps(dict.fromkeys(fields, "JSON"))
    braced = "case when starts_with(text, '{') and ends_with(text, '}') then text end"
    parts = [
        f"{name} := from_json(leaves.{name}, {_text(json.dumps(_structure(node)))})"
        for name, node in fields.items()
        if _is_part(node)
    ]
    values = [f"{value} as value_{name}" for name, node in fields.items() if (value := _typed(_kind(node), name))]
    return (
        f"select *, struct_pack({', '.join(parts)}) as parts, {', '.join(values)} "
        f"from (select *, try(from_json({braced}, {_text(leaves)})) as leaves from {records})"
    )


def certain() -> str:
    """SQL over `opened`: true only where the model of the record's channel accepts it."""
    fields = _event_fields()
    flat = {name: {"type": "any"} if _is_part(node) else node for name, node in fields.items()}
    terms = [f"strlen(text) = 1 + {_size(flat, 'leaves')}"]
    for name, node in fields.items():
        leaf = f"leaves.{name}"
        if _is_part(node):
            part = f"parts.{name}"
            inside = [
                f"starts_with({leaf}, '{{')",
                f"strlen({leaf}) = 1 + {_size(_fields(node), part)}",
                *_checks(_fields(node), part),
            ]
            terms.append(f"({leaf} is null or {' and '.join(inside)})")
        # Lengths prove something only where a leaf with numbers stands in the text to the letter.
        if _is_free(_kind(node)):
            exact = f"not regexp_matches({leaf}, '{_NO_NUMBER}') and {_as_written(name)}"
            terms.append(f"case when regexp_matches({leaf}, '{_NUMBERS_TO_LOOK_AT}') then {exact} else true end")
        elif numbers := _floats(node, f"parts.{name}"):
            terms.append(f"case when coalesce({', '.join(numbers)}) is null then true else {_as_written(name)} end")
    return "\n    and ".join([*terms, *_checks(flat, "leaves"), _requirements()])


def _as_written(name: str) -> str:
    """SQL: whether a leaf stands in the text to the letter.

    With its key: a copy that was laid out in other fields, to vouch for a longer leaf, takes more room than that saves.
    """
    return f"contains(text, {_text(json.dumps(name) + ':')} || leaves.{name})"


def _requirements() -> str:
    """SQL: what a channel asks for beyond the fields that all have; false for a channel that nobody knows."""
    cases = []
    for channel, requirement in REQUIREMENTS.items():
        present = " or ".join(map(_holds, requirement.any_of))
        other = (
            f"leaves.event_type <> {_text(json.dumps(requirement.event_type))} or " if requirement.event_type else ""
        )
        cases.append(f"when {_text(json.dumps(channel))} then {other}{present}")
    return f"case leaves.channel {' '.join(cases)} else false end"


def _holds(path: str) -> str:
    """SQL: whether there is a value at `path`, and no empty text; of a part the leaves are there already."""
    top, rest = path.split(".", 1)
    if _is_part(_event_fields()[top]):
        return f"coalesce(parts.{path} <> '\"\"', false)"
    return f"coalesce(leaves.{top} ->> '$.{rest}', '') <> ''"


def _event_fields() -> dict[str, Node]:
    # A field that only one channel's model had would be unknown here: its records go to pydantic.
    return {"channel": {"type": "any"}, **_fields(BaseEvent.__pydantic_core_schema__)}


def _fields(node: Node) -> dict[str, Node]:
    return {name: field["schema"] for name, field in _kind(node)["fields"].items()}


def _kind(node: Node) -> Node:
    while node["type"] in {"default", "nullable", "definitions", "function-after", "model"}:
        node = node["schema"]
    return node


def _is_part(node: Node) -> bool:
    return bool(_kind(node)["type"] == "model-fields")


def _is_free(node: Node) -> bool:
    return bool(node["type"] == "dict" and node["values_schema"]["type"] != "str")


def _is_instant(node: Node) -> bool:
    while node["type"] in {"function-before", "function-after"}:
        node = node["schema"]
    return bool(node["type"] == "datetime")


def _typed(node: Node, name: str) -> str | None:
    """SQL: the value of a top-level field which is read twice, for the check and for the row."""
    if _is_instant(node):
        return f"known_instant(leaves.{name} ->> '$')"
    if _is_free(node):
        return f"json_keys(leaves.{name})"
    if node["type"] == "dict":
        return f"try_cast(leaves.{name} as map(varchar, varchar))"
    return None


def _floats(node: Node, path: str) -> list[str]:
    """The leaves of the part at `path` that may be numbers other than integers."""
    if _is_part(node):
        return [leaf for name, field in _fields(node).items() for leaf in _floats(field, f"{path}.{name}")]
    return [path] if _kind(node)["type"] == "float" else []


def _structure(node: Node) -> Any:
    return {name: _structure(field) for name, field in _fields(node).items()} if _is_part(node) else "JSON"


def _size(fields: Mapping[str, Node], path: str) -> str:
    """SQL: the bytes of an object's members, as `"key":leaf,`. With one brace more that is the object, comma less."""
    sizes = []
    for name, node in fields.items():
        written = len(json.dumps(name).encode()) + len(":,")
        if _is_part(node):
            inside = _size(_fields(node), f"{path}.{name}")
            sizes.append(f"case when {inside} > 0 then {written} + 1 + {inside} else 0 end")
        else:
            sizes.append(f"coalesce({written} + strlen({path}.{name}), 0)")
    return f"({' + '.join(sizes)})"


def _checks(fields: Mapping[str, Node], path: str) -> list[str]:
    """SQL: one term per leaf, true only where it is missing with leave, or certainly valid."""
    terms = []
    for name, node in fields.items():
        leaf = f"{path}.{name}"
        if _is_part(node):
            terms += _checks(_fields(node), leaf)
        elif node["type"] in {"default", "nullable"}:
            terms.append(f"({leaf} is null or {_check(_kind(node), leaf)})")
        elif node["type"] != "any":
            terms.append(f"({_check(_kind(node), leaf)}) is true")
    return terms


def _check(node: Node, leaf: str) -> str:
    kind = node["type"]
    value = f"{leaf} ->> '$'"
    checks = {
        "str": f"""starts_with({leaf}, '"')""",
        "int": f"regexp_full_match({leaf}, '-?[0-9]{{1,18}}')",
        "float": f"regexp_full_match({leaf}, '-?[0-9]{{1,3}}([.][0-9]{{1,15}})?')",
        "bool": f"{leaf} in ('true', 'false')",
    }
    if kind == "str" and "max_length" in node:
        return f"{checks['str']} and length({value}) between {node['min_length']} and {node['max_length']}"
    if kind == "literal":
        return f"{leaf} in ({', '.join(_text(json.dumps(value)) for value in node['expected'])})"
    if _is_instant(node):
        return f"{checks['str']} and regexp_full_match({value}, '{INSTANT}') and value_{leaf.split('.')[1]} is not null"
    if kind == "dict" and _is_free(node):
        return _is_flat_object(leaf, f"value_{leaf.split('.')[1]}")
    if kind == "dict":
        # A map refuses a repeated key.
        return f"regexp_full_match({leaf}, '{_TEXT_MAP}') and value_{leaf.split('.')[1]} is not null"
    if kind not in checks:
        raise NotImplementedError(f"columnar.py does not know pydantic's type {kind!r} ({leaf}) yet: teach it")
    return checks[kind]


def _is_flat_object(leaf: str, keys: str) -> str:
    is_shallow = f"case when contains({leaf}, '[') then strlen({leaf}) < {_MOST_BYTES_OF_ARRAYS} else true end"
    has_no_long_number = (
        f"case when strlen({leaf}) < {_MOST_BYTES_OF_A_NUMBER} then true"
        f" else not regexp_matches({leaf}, '{_MANY_DIGITS}') end"
    )
    pairs = combinations(range(1, _FEW_KEYS + 1), 2)
    repeated = " or ".join(f"{keys}[{one}] = {keys}[{other}]" for one, other in pairs)
    return (
        f"starts_with({leaf}, '{{') and not contains(substring({leaf}, 2), '{{') and {is_shallow}"
        f" and {has_no_long_number} and case when len({keys}) <= {_FEW_KEYS} then ({repeated}) is not true"
        f" else list_unique({keys}) = len({keys}) end"
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
