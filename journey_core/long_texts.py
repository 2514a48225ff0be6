"""How much of one event the tables hold: DuckDB keeps 2,048 rows in memory together, so a row has to have a size.

The lake keeps every event whole (decision 0027).
"""

from __future__ import annotations

import duckdb

LARGEST_TEXT = 65_536  # bytes of `properties`, and of `context`, of one event; a longer text is shortened
LARGEST_MEMBER = 4_096  # bytes of a member (name and value) of a text that is shortened

#: SQL. Of a JSON object (text), which members stay; those in `always` do, however long they are. Each use reads the text
#: once, as DuckDB needs memory of four times its size to do so.
_MEMBERS = f"""
create or replace temp macro is_long(text) as coalesce(strlen(text) > {LARGEST_TEXT}, false);
create or replace temp macro members(text) as map_entries(json_transform(text, '"MAP(VARCHAR, JSON)"'));
create or replace temp macro object_of(entries) as
    '{{' || coalesce(array_to_string(list_transform(
        entries, lambda entry: to_json(entry.key) || ':' || entry.value
    ), ','), '') || '}}';
create or replace temp macro short_members(text, always) as object_of(list_filter(
    members(text),
    lambda entry:
        strlen(entry.key) + strlen(entry.value) <= {LARGEST_MEMBER} or list_contains(always, entry.key)
));
create or replace temp macro named_members(text, named) as object_of(list_filter(
    members(text), lambda entry: list_contains(named, entry.key)
));
"""


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `is_long`, `short_members` and `named_members` known to a connection."""
    connection.execute(_MEMBERS)
