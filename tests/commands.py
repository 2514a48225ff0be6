"""Commands as a user types them, run in this process: their exit code and what they print."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

from pipelines.cli import app
from pipelines.door import run


class Said(NamedTuple):
    """How a command ended. `err` is without the warning of a home that others can read: tests make such homes."""

    code: int
    out: str
    err: str


def journey(*arguments: str) -> Said:
    """Run `journey *arguments` here."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(app, arguments, lambda: "")
    lines = (line for line in err.getvalue().splitlines() if not line.startswith("warning: others than"))
    return Said(code, out.getvalue(), "\n".join(lines))
