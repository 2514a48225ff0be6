"""Where the project's data lies: `sql/`, `schemas/` and `dags/`, in a checkout or inside an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
ROOT = _PACKAGE if (_PACKAGE / "sql").is_dir() else _PACKAGE.parent
SQL = ROOT / "sql"
SCHEMAS = ROOT / "schemas"
DAGS = ROOT / "dags"
