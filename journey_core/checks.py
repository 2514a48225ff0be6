"""A mart's YAML twin → a Great Expectations suite that runs inside DuckDB.

Every check is pushed down as SQL over a read-only connection; what comes back are counts and at most five examples. GX
is imported inside the functions that need it: the import alone takes 5 to 12 seconds.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import TypeAdapter

from journey_core.errors import DamagedError, JourneyError, NotBuiltError, StorageError
from journey_core.models import Contract, Severity, quoted
from journey_core.warehouse import CORRUPT, Warehouse, damaged_warehouse

EXAMPLES = 5
_RENDERER = {"module_name": "journey_core.checks_engine", "class_name": "EscapedResults"}


@dataclass(frozen=True)
class Failure:
    """One broken check: how many rows break it, and up to five of them; `error` where it could not run."""

    table: str
    rule: str
    severity: Severity
    rows: int | None
    examples: list[Any]
    error: str | None

    def __str__(self) -> str:
        example = f", e.g. {self.examples[0]}" if self.examples else ""
        found = f"{self.rows:,} rows break it{example}" if self.error is None else f"could not run: {self.error}"
        return f"{self.table}: {self.rule} ({found})"


@dataclass(frozen=True)
class CheckResult:
    """All checks of one build. `passed` unless one of severity `fail` is broken."""

    build_id: str
    checks: int
    failures: list[Failure]
    folder: str

    @property
    def passed(self) -> bool:
        """Whether the build may be published."""
        return not any(failure.severity == "fail" for failure in self.failures)

    @property
    def data_docs(self) -> Path:
        """The folder of the Data Docs; `index.html` is where to start."""
        return Path(self.folder) / "data_docs"

    def __str__(self) -> str:
        broken = [failure for failure in self.failures if failure.severity == "fail"]
        warned = len(self.failures) - len(broken)
        line = f"checked {self.build_id}: {self.checks - len(self.failures)} of {self.checks} checks hold"
        if broken:
            return f"{line}, {len(broken)} failed. First: {broken[0]}"
        return f"{line}, {warned} warned. First: {self.failures[0]}" if warned else line


_RESULT = TypeAdapter(CheckResult)


@dataclass(frozen=True)
class Rule:
    """One expectation of one table, before GX knows of it."""

    says: str
    severity: Severity
    expectation: str
    arguments: Mapping[str, Any]


def rules_of(contract: Contract) -> Iterator[Rule]:
    """The rules that a contract states, in its order: grain, columns, sentences."""
    if contract.grain:
        # Not GX's own uniqueness: it passes over rows whose key holds a null.
        grain = ", ".join(map(quoted, contract.grain))
        repeated = f"select {grain}, count(*) as rows from {contract.table} group by all having count(*) > 1"
        yield Rule("the grain is unique", "fail", "ExpectNoRows", {"query": repeated})
    for key in contract.grain:
        yield Rule(f"{key} is not null", "fail", "ExpectColumnValuesToNotBeNull", {"column": key})
    for name, column in contract.columns.items():
        if column.not_null and name not in contract.grain:
            yield Rule(f"{name} is not null", column.severity, "ExpectColumnValuesToNotBeNull", {"column": name})
        if column.accepted is not None:
            says = f"{name} is one of {', '.join(column.accepted)}"
            values = {"column": name, "value_set": column.accepted}
            yield Rule(says, column.severity, "ExpectColumnValuesToBeInSet", values)
        if column.minimum is not None or column.maximum is not None:
            bounds = {"min_value": column.minimum, "max_value": column.maximum}
            says = f"{name} lies in [{column.minimum}, {column.maximum}]"
            yield Rule(says, column.severity, "ExpectColumnValuesToBeBetween", {"column": name} | bounds)
    for check in contract.checks:
        yield Rule(check.check, check.severity, "ExpectNoRows", {"query": check.sql})


def run_checks(
    warehouse: Warehouse,
    build_id: str,
    contracts: Sequence[Contract],
    root: Path,
    progress: Callable[[str, int, int | None], None] = lambda *_: None,
) -> CheckResult:
    """Check `contracts` against the tables of `warehouse`; write result and Data Docs to `root/<build_id>/`.

    Each suite is one table. Never raises for a broken check: see `CheckResult.passed`. Raises StorageError where the
    disk refuses, NotBuiltError where another build has taken the tables' place meanwhile.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=root, prefix=".running-") as aside:
            result = _run_suites(warehouse.path, build_id, contracts, Path(aside), root / build_id, progress)
            for failure in result.failures:
                if failure.error is not None and CORRUPT in failure.error:
                    raise damaged_warehouse(warehouse.path, failure.error)
            if warehouse.last_build().build_id != build_id:
                raise NotBuiltError(f"{build_id} was built over while it was checked. Run: journey check")
            shutil.rmtree(root / build_id, ignore_errors=True)
            shutil.copytree(aside, root / build_id, dirs_exist_ok=True)
    except OSError as error:
        raise StorageError(f"the checks cannot be written under {root}: {error}. Nothing is published") from error
    return result


def _run_suites(
    database: Path,
    build_id: str,
    contracts: Sequence[Contract],
    folder: Path,
    home: Path,
    progress: Callable[[str, int, int | None], None],
) -> CheckResult:
    progress("importing Great Expectations", 0, None)
    failures: list[Failure] = []
    count = 0
    with _context(folder / "data_docs") as context:
        datasource = context.data_sources.add_duckdb(
            name="marts",
            schema_name="marts",
            connection_string="duckdb://",
            # Not in the URL: there GX puts a variable in the place of `$HOME`, and SQLAlchemy reads a `?`.
            kwargs={"connect_args": {"read_only": True, "database": str(database.absolute())}},
        )
        for done, contract in enumerate(contracts):
            progress(f"checking {contract.table}", done, len(contracts))
            rules = list(rules_of(contract))
            count += len(rules)
            failures += _run_suite(context, datasource, contract.table, rules, build_id)
        progress("writing Data Docs", len(contracts), len(contracts))
        context.build_data_docs()
    pages = len(list((folder / "data_docs").glob("validations/**/*.html")))
    if pages != len(contracts):  # GX logs a page that it cannot render, and goes on
        raise JourneyError(f"{folder / 'data_docs'}: {pages} result pages for {len(contracts)} tables; see the log")
    result = CheckResult(build_id, count, failures, str(home))
    (folder / "result.json").write_text(json.dumps(asdict(result), indent=1, default=str) + "\n")
    return result


def read_result(root: Path, build_id: str) -> CheckResult | None:
    """What the checks of a build said; None where they have not run to their end."""
    path = root / build_id / "result.json"
    try:
        return _RESULT.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # a ValidationError of pydantic is a ValueError
        said = str(error) if isinstance(error, OSError) else "it holds something else"
        raise DamagedError(f"{path} is no result of checks: {said}. Run: journey check") from error


@contextmanager
def _context(data_docs: Path) -> Iterator[Any]:
    """A GX context that lives in memory, phones nobody, shows no bars of its own, and has one site."""
    if find_spec("great_expectations") is None:
        raise JourneyError("checks need Great Expectations. Install it: pip install 'journey-pipeline[quality]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GX's own, about its own dependencies
        import great_expectations as gx  # noqa: PLC0415
        from great_expectations.data_context.types.base import (  # noqa: PLC0415
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )

        import journey_core.checks_engine  # noqa: F401, PLC0415

        logging.captureWarnings(False)  # importing GX sends every warning of this process to the log
        site = {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(data_docs.absolute()).replace("$", r"\$"),  # else GX looks for a variable
            },
            "site_section_builders": {"validations": {"renderer": _RENDERER}},
        }
        config = DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            data_docs_sites={"local": site},
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        )
        context = gx.get_context(mode="ephemeral", project_config=config)
        try:
            yield context
        finally:
            for datasource in context.data_sources.all().values():
                datasource.get_execution_engine().close()


def _run_suite(context: Any, datasource: Any, table: str, rules: Sequence[Rule], build_id: str) -> Iterator[Failure]:
    import great_expectations as gx  # noqa: PLC0415

    batch = datasource.add_table_asset(table.removeprefix("marts.")).add_batch_definition_whole_table("all")
    suite = gx.ExpectationSuite(
        name=table, expectations=[_expectation(number, rule) for number, rule in enumerate(rules)]
    )
    context.suites.add(suite)
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=table, data=batch, suite=suite))
    # SUMMARY brings counts and a few examples; COMPLETE would fetch up to 200 rows.
    summary = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
    run = gx.core.run_identifier.RunIdentifier(run_name=build_id)
    for result in definition.run(result_format=summary, run_id=run).results:
        if not result.success:
            rule = rules[result.expectation_config.meta["number"]]
            found = result.result
            yield Failure(
                table=table,
                rule=rule.says,
                severity=rule.severity,
                rows=found.get("unexpected_count"),
                examples=list(found.get("partial_unexpected_list") or []),
                error=_error(result.exception_info),
            )


def _error(said: Mapping[str, Any]) -> str | None:
    """The first line of an exception. GX gives one, or one for each metric that a check needs."""
    exceptions = [said] if "raised_exception" in said else list(said.values())
    return next((str(one["exception_message"]).splitlines()[0] for one in exceptions if one["raised_exception"]), None)


def _expectation(number: int, rule: Rule) -> Any:
    import great_expectations.expectations as gxe  # noqa: PLC0415

    from journey_core.checks_engine import ExpectNoRows  # noqa: PLC0415

    kind = ExpectNoRows if rule.expectation == "ExpectNoRows" else getattr(gxe, rule.expectation)
    return kind(
        **rule.arguments,
        severity={"fail": "critical", "warn": "warning"}[rule.severity],
        # The result pages show neither severity nor notes, and do not escape: the description has to say it all.
        description=escape(f"{rule.severity}: {rule.says}", quote=False),
        meta={"number": number},
    )
