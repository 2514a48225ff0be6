"""How long work says how far it is: `progress(label, done, total)`, any number of times; total None is unknown."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]


def silent(label: str, done: int, total: int | None) -> None:
    """The progress of nobody watching."""
