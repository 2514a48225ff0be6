"""DuckDB for Great Expectations. Importing this module imports GX (5 to 12 s) and registers both classes with it.

Through plain duckdb-engine every expectation fails: GX reads a result after it has given its connection back, and
DuckDB has dropped the result by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from html import escape
from typing import Any, ClassVar, Literal

import sqlalchemy
from great_expectations.datasource.fluent import SQLDatasource
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer

EXAMPLES = 5

COLUMNS = sqlalchemy.text("""
    select column_name as name, data_type as type from information_schema.columns
    where table_schema = coalesce(:schema, current_schema()) and table_name = :table_name order by ordinal_position
""")


class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):
    """One connection, open from the first check to the last."""

    _connection: sqlalchemy.Connection | None

    @contextmanager
    def get_connection(self) -> Iterator[sqlalchemy.Connection]:
        """The one connection, in UTC."""
        connection: sqlalchemy.Connection = self._connection or self.engine.connect()
        if self._connection is None:
            self._connection = connection
            connection.exec_driver_sql("set TimeZone = 'UTC'")
        try:
            yield connection
        except Exception:
            connection.rollback()  # else one broken check aborts the transaction, and all checks after it
            raise

    def get_inspector(self) -> Any:
        """Ourselves: duckdb-engine's inspector reads Postgres catalogs that DuckDB 2.0 does not have."""
        return self

    def get_pk_constraint(self, table_name: str, schema: str | None = None) -> dict[str, Any]:  # noqa: ARG002
        """No table of ours declares a primary key: the grain is a check."""
        return {}

    def get_columns(self, table_name: str, schema: str | None = None) -> list[dict[str, Any]]:
        """Name and type of each column, in the table's order."""
        columns = self.execute_query(COLUMNS.bindparams(table_name=str(table_name), schema=schema))
        return [dict(column) for column in columns.mappings()]

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()  # before dispose(), which forgets the connections that are in use
            self._connection = None
        self.engine.dispose()


class DuckDBDatasource(SQLDatasource):
    """The tables of one schema of one file."""

    type: Literal["duckdb"] = "duckdb"
    schema_name: str | None = None
    _EXTRA_EXCLUDED_EXEC_ENG_ARGS: ClassVar[set[str]] = {"schema_name"}
    schema_ = property(lambda self: self.schema_name)
    execution_engine_type = property(lambda _: DuckDBExecutionEngine)

    def get_engine(self) -> sqlalchemy.Engine:
        """The engine that the checks use: GX would open a second pool here, which nothing closes."""
        return self.get_execution_engine().engine


class ExpectNoRows(BatchExpectation):
    """A query over any tables that returns the rows which break a rule: their count, and the first five as text.

    GX's own UnexpectedRowsExpectation runs the query twice, fetches up to 200 rows, and takes `{...}` and `:name` in
    the text for its own.
    """

    query: str
    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.row_count",)
    success_keys: ClassVar[tuple[str, ...]] = ("query",)

    def _validate(
        self,
        metrics: Mapping[str, Any],
        runtime_configuration: Any = None,  # noqa: ARG002
        execution_engine: Any = None,
    ) -> dict[str, Any]:
        violations = f"from ({self.query.strip().rstrip(';')}\n) as violations"
        with execution_engine.get_connection() as connection:
            count = connection.exec_driver_sql(f"select count(*) {violations}").scalar_one()
            # As text: GX wants JSON, and DuckDB wants pytz to hand over a timestamptz.
            first = f"select columns(*)::varchar {violations} limit {EXAMPLES}"
            examples = [dict(row) for row in connection.exec_driver_sql(first).mappings()] if count else []
        rows = metrics["table.row_count"]
        return {
            "success": count == 0,
            "result": {
                "observed_value": count,
                "unexpected_count": count,
                "unexpected_percent": 100 * count / rows if rows else 100.0 * bool(count),
                "element_count": rows,
                "partial_unexpected_list": examples,
            },
        }


class EscapedResults(ValidationResultsPageRenderer):
    """The page of a suite's results, with what came from the data escaped: GX's templates show it as HTML."""

    def render(self, validation_results: Any, suite_parameters: Any = None) -> Any:
        """The page's blocks. The results themselves stay as they are."""
        shown = deepcopy(validation_results)
        for result in shown.results:
            result.result = _escaped(result.result)
            result.exception_info = _escaped(result.exception_info)
        return super().render(shown, suite_parameters)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {_escaped(name): _escaped(inner) for name, inner in value.items()}
    return [_escaped(inner) for inner in value] if isinstance(value, list | tuple) else value
