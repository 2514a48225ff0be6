"""YAML that users write, read within limits: a small file must not grow into a large document.

Scalars keep the meaning that they seem to have: `2026-01-01`, `12:30` and `010` are texts, while YAML 1.1 would read a
date, 750 and 8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from journey_core.errors import TaxonomyError

#: Bytes of a file; its values, each as often as an alias repeats it; how deep they nest; characters of a key.
LARGEST_FILE, MOST_NODES, DEEPEST, LONGEST_KEY = 2**20, 50_000, 40, 200
# PyYAML's own parser shows the line of a mistake, and takes ten times as long as libyaml's.
_SHOWN = 2**16
# libyaml's parser, where PyYAML was built with it.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]
    yaml_implicit_resolvers = {
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        ]
        for first, resolvers in _Safe.yaml_implicit_resolvers.items()
    }


# As JSON has them, and YAML 1.2.
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?$"), list("-+0123456789")
)


def read_yaml(path: Path) -> tuple[yaml.Node | None, Any]:
    """The file's tree, which knows lines, and its content. Raises TaxonomyError naming file and line."""
    text = _text(path)
    try:
        _within_limits(path, text)
        loader = _Loader(text)
        try:
            tree = loader.get_single_node()
            for name, node in _repeated_keys(path, tree):
                raise TaxonomyError(f"{path}:{_line(node)}, key {name}: this key stands here twice")
            return tree, None if tree is None else loader.construct_document(tree)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:
        raise TaxonomyError(f"{path} is no YAML: {_mistake(text) or error}") from error


def _text(path: Path) -> str:
    if not path.is_file():
        raise TaxonomyError(f"{path} cannot be read: there is no such file. Give the path of a YAML file")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if not (isinstance(error, UnicodeDecodeError) and len(content) > LARGEST_FILE):
            raise TaxonomyError(f"{path} cannot be read: {error}") from error
    if len(content) > LARGEST_FILE:
        raise TaxonomyError(f"{path} is larger than {LARGEST_FILE:,} bytes. Split it, or leave out what nothing uses")
    return text


def _within_limits(path: Path, text: str) -> None:
    """Count what the file would become. Aliases are followed by numbers alone, so that no bomb goes off."""
    nodes = 0
    opened: list[tuple[str | None, int]] = []  # anchor, nodes before it
    sizes: dict[str, int] = {}
    for event in yaml.parse(text, Loader=_Safe):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in opened):
                raise TaxonomyError(f"{path}:{_line(event)}: `*{event.anchor}` contains itself. Write its parts out")
            nodes += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, nodes))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = nodes - before
        if nodes > MOST_NODES:
            raise TaxonomyError(
                f"{path}:{_line(event)}: more than {MOST_NODES:,} values up to here, those of aliases (`*name`) "
                "included. Leave out what nothing uses"
            )
        if len(opened) > DEEPEST:
            raise TaxonomyError(f"{path}:{_line(event)}: nested deeper than {DEEPEST} levels. Write it flat")


def _repeated_keys(path: Path, tree: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    """Keys that stand twice in one mapping: YAML lets the last one win without a word."""
    if isinstance(tree, yaml.MappingNode):
        names = set()
        for key, value in tree.value:
            if isinstance(key, yaml.ScalarNode):
                if len(key.value) > LONGEST_KEY:
                    long = f"a key of {len(key.value):,} characters; at most {LONGEST_KEY}"
                    raise TaxonomyError(f"{path}:{_line(key)}, key {key.value[:40]}...: {long}")
                if key.value in names:
                    yield key.value, key
                names.add(key.value)
            yield from _repeated_keys(path, value)
    elif isinstance(tree, yaml.SequenceNode):
        for value in tree.value:
            yield from _repeated_keys(path, value)


def _line(part: Any) -> int:
    """The line of a node or an event, from 1."""
    return int(part.start_mark.line) + 1


def _mistake(text: str) -> Exception | None:
    """What PyYAML's own parser says, which shows the line."""
    if len(text) > _SHOWN:
        return None
    try:
        yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        return error
    return None
