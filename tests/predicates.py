"""Random expressions of the whole grammar that a taxonomy or a mapping may use, and events that fit none of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from tests.conftest import Event, event

#: Values that look like numbers, times, JSON or patterns, and are not; or are, and are too large.
POISON: tuple[Any, ...] = (
    None, True, 0, -1, 3, 500, 2.5, 1e308, -1e308, 5e-324, 2**63 - 1, -(2**63), 2**64, 10**40,
    "", " ", "500", "E500", "-0", "1e400", "1e999999999", "NaN", "-Infinity", "inf", "1_000", "١٢", "0x1F", "true",
    "9223372036854775807", "-9223372036854775808", "170141183460469231731687303715884105727", "99999999999999.9999",
    "0001-01-01", "9999-12-31", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "2026-02-30", "infinity",
    "290000-01-01", "24:00:00", "2026-13-01 25:61:61", "1 day", "999999999 years", "\\u0000", "a\\", "%", "_", "(", "[a",
    "(?i:x", "a{99999}", "*", "\\p{Foo}", "ünïcödé ﷽ 👩‍👩‍👧‍👦 \u202e", "é", "ß", "İ", "'", '"', "--", "{", "[1", "null", '{"a": 1}', "$.a",
    "x" * 5000, {}, [], {"a": {"b": [1, {"c": "E5"}]}}, [1, "2", None, {"a": 1e308}], {"a": "500", "0": 1}, [[[]]],
)  # fmt: skip
_FIELDS = ("error_code", "product_id", "order_id", "revenue", "rating", "support_topic", "currency", "quantity", "a")
_TIMES = ("2026-01-01 10:00", "0001-01-03 00:00", "1582-10-10 00:00", "1969-12-31 23:59:59.999999")


def poisoned_events(random: Random, count: int) -> list[Event]:
    """Events that keep the contract, and hold poison wherever it lets them."""
    made = []
    for number in range(count):
        properties = {name: random.choice(POISON) for name in _FIELDS if random.random() < 0.7}
        properties["survey"] = {"kind": random.choice(POISON), "score": random.choice(POISON)}
        context: dict[str, Any] = {
            "locale": _text(random),
            "screen": _text(random),
            "page": {"url": "https://shop.example/", "path": _text(random)},
            "campaign": {"source": _text(random)},
            "device": {"os": _text(random)},
        }
        kind = random.choice(["page_viewed", "order_completed", "order_refunded", "order_delivered", "(", "E500"])
        who = {"customer_id": random.choice(["ann", "bob"])}
        at = random.choice(_TIMES)
        made.append(event(f"p{number}", at, kind, who=who, properties=properties, context=context))
    return made


def _text(random: Random) -> str:
    return str(random.choice([value for value in POISON if isinstance(value, str)]))


def poisoned_rows(random: Random, columns: Sequence[str], count: int) -> list[dict[str, Any]]:
    """Rows of a log with poison in each of `columns`."""
    return [{name: random.choice(POISON) for name in columns} for _ in range(count)]


class Grammar:
    """Random SQL over columns: `columns` is name → one of text, number, time, boolean, json.

    `for_mapping` adds the functions that only a mapping has.
    """

    def __init__(self, random: Random, columns: Mapping[str, str], *, for_mapping: bool = False) -> None:
        self._random = random
        self._for_mapping = for_mapping
        self._columns = {
            kind: [name for name, its in columns.items() if its == kind]
            for kind in ("text", "number", "time", "boolean", "json")
        }
        self._terms: dict[str, list[str]] = {}

    def boolean(self, depth: int = 4) -> str:
        """A predicate."""
        return self._made("boolean", depth)

    def value(self, depth: int = 4) -> str:
        """An expression of any type."""
        return self._made(self._one("text", "number", "time", "boolean", "json"), depth)

    def _one(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def _made(self, kind: str, depth: int) -> str:
        terms = self._terms.setdefault(kind, [])
        if terms and self._random.random() < 0.15:
            return str(self._random.choice(terms))  # DuckDB treats a term that stands twice in its own way
        if self._random.random() < 0.06:
            kind = self._one("text", "number", "time", "json", "boolean")  # what asks for an implicit cast
        term = self._leaf(kind) if depth <= 0 or self._random.random() < 0.12 else getattr(self, f"_{kind}")(depth - 1)
        terms.append(term)
        del terms[:-12]
        return str(term)

    def _leaf(self, kind: str) -> str:
        columns = self._columns.get(kind, [])
        if columns and self._random.random() < 0.7:
            return str(self._random.choice(columns))
        return str(
            self._random.choice(
                {
                    "text": ["'500'", "'E500'", "''", "'%'", "'a_%'", "'2026-01-01'", "'(a|b)*'", "'İ'", "null"],
                    "number": ["0", "1", "-1", "2.5", "500", "1e308", "9223372036854775807", "0.0001", "null",
                               "99999999999999999999999999999999999999"],
                    "time": ["timestamp '2026-01-01 00:00:00'", "date '9999-12-31'", "cast('0001-01-01' as date)",
                             "cast('infinity' as timestamp)", "cast('2026-01-01T00:00:00Z' as timestamptz)"],
                    "boolean": ["true", "false", "null"],
                    "json": ["cast('{\"a\": 1}' as json)", "cast('[1, 2]' as json)"],
                }[kind]
            )
        )  # fmt: skip

    def _boolean(self, depth: int) -> str:
        def made(kind: str) -> str:
            return self._made(kind, depth)

        kind = self._one("text", "number", "time", "json", "number", "text")
        sign = self._one("=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from")
        mixed = self._one("text", "number", "time", "json", "boolean")
        return str(
            self._one(
                lambda: f"({made('boolean')} and {made('boolean')})",
                lambda: f"({made('boolean')} or {made('boolean')})",
                lambda: f"(not {made('boolean')})",
                lambda: f"({made(kind)} {sign} {made(kind)})",
                lambda: f"({made(kind)} {sign} {made(mixed)})",
                lambda: f"({made(kind)} {self._one('in', 'not in')} ({made(kind)}, {made(kind)}, {self._leaf(mixed)}))",
                lambda: f"({made(kind)} between {made(kind)} and {made(kind)})",
                lambda: f"({made(kind)} is {self._one('', 'not ')}null)",
                lambda: f"({made('boolean')} is {self._one('true', 'false', 'not true')})",
                lambda: f"({made('text')} {self._one('like', 'ilike', 'not like')} {made('text')})",
                lambda: f"({made('text')} like {self._one(made('text'), chr(39) + 'a!%' + chr(39))} escape '!')",
                lambda: f"regexp_matches({made('text')}, {self._one(self._pattern(), made('text'))})",
                lambda: f"{self._one('starts_with', 'ends_with', 'contains')}({made('text')}, {made('text')})",
                lambda: f"cast({made(mixed)} as boolean)",
                lambda: f"coalesce({made('boolean')}, {made('boolean')})",
                lambda: self._case("boolean", depth),
                lambda: f"(properties -> '{self._path()}' {sign} {self._leaf('number')})",
                lambda: (
                    f"(error_code {sign} {self._leaf('number')})" if "error_code" in self._columns["text"] else "true"
                ),
            )()
        )

    def _pattern(self) -> str:
        return str(self._one("'^a.*'", "'(?i:e[0-9]+)'", "'\\p{L}'", "'(x+x+)+y'", "'x{1,500}'", "''"))

    def _path(self) -> str:
        return str(
            self._one("$.quantity", "$.a", "$.a.b[0]", "$.a.b[1].c", "$.survey.score", "$[0]", "$", "a", "$.x.y.z")
        )

    def _case(self, kind: str, depth: int) -> str:
        return (
            f"case when {self._made('boolean', depth)} then {self._made(kind, depth)}"
            f" when {self._made('boolean', depth)} then {self._made(kind, depth)} else {self._made(kind, depth)} end"
        )

    def _number(self, depth: int) -> str:
        def made(kind: str) -> str:
            return self._made(kind, depth)

        kind = self._one("bigint", "integer", "double", "decimal(18, 4)", "decimal(38, 10)", "smallint", "hugeint", "float",
                         "ubigint", "tinyint")  # fmt: skip
        any_kind = self._one("text", "number", "time", "json", "boolean")
        return str(
            self._one(
                lambda: f"({made('number')} {self._one('+', '-', '*', '/', '%')} {made('number')})",
                lambda: f"({made('number')} {self._one('+', '-', '*', '/', '%')} {self._leaf('number')})",
                lambda: f"({made('number')} {self._one('+', '*')} {self._leaf('text')})",
                lambda: f"(- {made('number')})",
                lambda: f"{self._one('cast', 'try_cast')}({made(any_kind)} as {kind})",
                lambda: f"length({made('text')})",
                lambda: f"abs({made('number')})",
                lambda: f"round({made('number')}, {self._one('0', '2', '-3', '400', made('number'))})",
                lambda: f"round({made('number')})",
                lambda: f"{self._one('floor', 'ceil')}({made('number')})",
                lambda: f"nullif({made('number')}, {made('number')})",
                lambda: f"coalesce({made('number')}, {made('number')})",
                lambda: f"cast(properties ->> '{self._path()}' as {kind})",
                lambda: f"cast(properties -> '{self._path()}' as {kind})",
                lambda: self._case("number", depth),
            )()
        )

    def _text(self, depth: int) -> str:
        def made(kind: str) -> str:
            return self._made(kind, depth)

        if self._for_mapping and self._random.random() < 0.2:
            return str(
                self._one(
                    lambda: f"split_part({made('text')}, {made('text')}, {self._leaf('number')})",
                    lambda: f"regexp_extract({made('text')}, {self._pattern()}, {self._one('0', '1', '9')})",
                    lambda: (
                        f"regexp_replace({made('text')}, {self._pattern()}, {self._one(repr('x'), repr('$1'))}, 'g')"
                    ),
                    lambda: f"lookup({made('json')}, {made('text')})",
                )()
            )
        return str(
            self._one(
                lambda: f"({made('text')} || {made(self._one('text', 'number', 'time'))})",
                lambda: f"concat({made('text')}, {made('number')}, {made('json')})",
                lambda: f"{self._one('lower', 'upper', 'trim', 'md5')}({made('text')})",
                lambda: f"substring({made('text')}, {made('number')}, {made('number')})",
                lambda: f"substring({made('text')} from {self._leaf('number')})",
                lambda: f"replace({self._leaf('text')}, {self._leaf('text')}, {self._leaf('text')})",
                lambda: f"cast({made(self._one('number', 'time', 'json', 'boolean'))} as varchar)",
                lambda: f"(properties ->> '{self._path()}')",
                lambda: f"(context ->> '{self._path()}')",
                lambda: f"coalesce({made('text')}, {made('text')})",
                lambda: f"nullif({made('text')}, {made('text')})",
                lambda: self._case("text", depth),
            )()
        )

    def _time(self, depth: int) -> str:
        def made(kind: str) -> str:
            return self._made(kind, depth)

        if self._for_mapping and self._random.random() < 0.3:
            return f"{self._one('epoch_s', 'epoch_ms', 'epoch_us', 'epoch_ns')}({made(self._one('text', 'number', 'json'))})"
        amount = self._one("1 day", "999999999 days", "200000 years", "2000000 months", "1 hour", "1 microsecond")
        unit = self._one("day", "month", "year", "hour", "second")
        return str(
            self._one(
                lambda: f"({made('time')} {self._one('+', '-')} interval '{amount}')",
                lambda: f"({made('time')} {self._one('+', '-')} interval ({made('number')}) {unit})",
                lambda: (
                    f"cast({made(self._one('text', 'time', 'number'))} as {self._one('timestamp', 'timestamptz', 'date')})"
                ),
                lambda: (
                    f"strptime({made('text')}, {self._one(repr('%Y-%m-%d'), repr('%d/%m/%Y %H:%M'), repr('%Y-%m-%dT%H:%M:%S%z'))})"
                ),
                lambda: f"coalesce({made('time')}, {made('time')})",
                lambda: self._case("time", depth),
            )()
        )

    def _json(self, depth: int) -> str:
        return str(
            self._one(
                lambda: f"(properties -> '{self._path()}')",
                lambda: f"({self._made('json', depth)} -> '{self._path()}')",
                lambda: f"cast({self._made(self._one('text', 'number', 'json'), depth)} as json)",
            )()
        )


def as_lines(events: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a JSONL file has them."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in events)
