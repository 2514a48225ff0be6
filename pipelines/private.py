"""Who may read what holds people: its owner, and whoever `JOURNEY_RELEASES_MODE` lets read the releases."""

from __future__ import annotations

import shlex
from pathlib import Path

from journey_core.modes import of_home

#: The umask of every command, and of the DAGs: new directories are 0700, new files 0600. Kafka's broker inherits it.
PRIVATE_UMASK = 0o077
_OTHERS = 0o077


def who_else_reads(home: Path, releases_mode: int) -> str | None:
    """A warning where others than the owner can read people's data in an existing home; None where nobody can."""
    if not home.is_dir() or not home.stat().st_mode & _OTHERS:
        return None  # nobody else comes in
    open_to_others = [home] if _is_wider(home, of_home(releases_mode)) else []
    if not open_to_others:
        inside = (path for path in sorted(home.iterdir()) if path.name != "releases")
        open_to_others = [path for path in inside if _is_wider(path, 0o700)]
    if not open_to_others:
        return None
    named = shlex.quote(str(home))
    close = f"chmod -R go-rwx {named}"
    if releases_mode & _OTHERS:
        who = "g" if releases_mode & 0o040 and not releases_mode & 0o004 else "go"
        close += f" && chmod {who}+x {named} && chmod -R {who}+rX {named}/releases"
    found = ", ".join(map(str, open_to_others))
    return f"others than their owner can read {found}, which holds people's data. To close it: {close}"


def _is_wider(path: Path, mode: int) -> bool:
    return bool(path.stat().st_mode & _OTHERS & ~mode)
