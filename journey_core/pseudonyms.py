"""Pseudonyms instead of identifiers: HMAC-SHA-256 under a secret, before anything is written.

The same identifier, normalised, has the same pseudonym, so joins, merges and erasures work as before. Who has the
secret can tell whether somebody is among the pseudonyms; who has the disk alone cannot.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
from cryptography.fernet import Fernet, InvalidToken

from journey_core.contract import EVENTS, RECORDS, REJECTED_EVENTS, Judged
from journey_core.errors import InputError
from journey_core.identity import Identity
from journey_core.keyed import teach_keyed
from journey_core.privacy import Person, find_keyed, find_named, numbered
from journey_core.shapes import BASE64, CORES, RUN, SHORTEST, anybodys, decoded, patterns, teach

_SEALED = b"sealed:"
_HIDDEN = "(pseudonymised)"
_NO_EVENT = "null::timestamptz as occurred_at, null::bigint as sequence, null as event_type, null as properties"
_TEXTS = ("event_type", "context", "properties", "extra")
_JSON = ("context", "properties", "extra")
_OF_REJECTED = ("channel", "initiator", "field")


@dataclass(frozen=True)
class Pseudonyms:
    """Which namespaces are pseudonymised, the secret, and how identifiers are normalised before."""

    namespaces: frozenset[str]
    secret: str = field(repr=False)
    identity: Identity = field(default_factory=Identity)

    def of(self, namespace: str, identifier: str) -> str:
        """What `identifier`, as somebody writes it, is called in the tables; itself where it is not hidden."""
        row = {"identifiers": [{namespace: identifier}]}
        asked = pa.table({name: pa.array(values, EVENTS.field(name).type) for name, values in row.items()})
        with duckdb.connect() as connection:
            connection.register("asked", asked)
            self._teach(connection)
            self._find(connection, f"(select 'x' as place, {_NO_EVENT}, identifiers from asked)")
            found = connection.execute("select pseudonym from named").fetchall()
        return str(found[0][0]) if found else identifier

    def hide(self, judged: Judged) -> Judged:
        """`judged` with pseudonyms for identifiers, and without those identifiers in the other texts of their records.

        E-mail addresses and telephone numbers with a prefix leave all texts, whosever they are.
        What was rejected keeps its bytes sealed (`unseal` opens them): what does not parse cannot be searched.
        """
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            accepted = self._hidden(connection, judged.accepted)
            rejected = self._hidden(connection, judged.rejected)
        for name in ("context", "properties", "extra", "detail"):
            rejected = _replaced(rejected, name, pa.nulls(rejected.num_rows, REJECTED_EVENTS.field(name).type))
        for name in ("key", "value"):
            sealed = [text and self._seal(text) for text in rejected[name].to_pylist()]
            rejected = _replaced(rejected, name, pa.array(sealed, pa.binary()))
        return Judged(accepted, rejected)

    def unseal(self, records: pa.Table) -> pa.Table:
        """Records with their bytes as Kafka had them. Raises InputError where another secret has sealed them."""
        for name in ("key", "value"):
            opened = [text and self._open(text) for text in records[name].to_pylist()]
            records = _replaced(records, name, pa.array(opened, RECORDS.field(name).type))
        return records

    def naming(self, sealed: pa.Table, person: Person) -> list[str]:
        """The places of sealed records (`place`, `key`, `value`) that name a person, whose identifiers are pseudonyms.

        A few records: each is opened here, and nothing of it is kept.
        """
        rows = [
            (
                place,
                b"\n".join(self._open(octets) for octets in (key, value) if octets).decode("utf-8", "replace"),
                self._open(key) if key else None,
            )
            for place, key, value in zip(*(sealed[name].to_pylist() for name in ("place", "key", "value")), strict=True)
        ]
        columns = {name: pa.array([row[n] for row in rows]) for n, name in enumerate(("place", "text", "key"))}
        table = pa.table(
            columns, schema=pa.schema([("place", pa.string()), ("text", pa.string()), ("key", pa.binary())])
        )
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            connection.register("opened", table)
            connection.execute("create temp table landed as from opened")
            teach(connection, person.patterns())
            found = connection.execute("select place from landed where is_named(text)").fetchall()
            self._teach(connection)
            # Addresses and numbers wherever they stand, pairs as JSON writes them, and the key.
            connection.register("of_namespace", pa.table({"namespace": sorted(self.namespaces)}))
            connection.register(
                "anybodys",
                pa.table(
                    {
                        "namespace": pa.array(
                            [name for name in ("email", "phone") if name in self.namespaces], pa.string()
                        ),
                        "pattern": pa.array(
                            [CORES[name] for name in ("email", "phone") if name in self.namespaces], pa.string()
                        ),
                    }
                ),
            )
            said = connection.execute(
                """
                select place, namespace, unnest(regexp_extract_all(text, pattern)) from landed cross join anybodys
                union
                select place, namespace, unnest(regexp_extract_all(
                    text, '"' || regexp_escape(namespace) || '"\\s*:\\s*"?([^",}]+)', 1
                )) from landed cross join of_namespace
                """
            ).fetchall()
            find_named(
                connection,
                "(select null::varchar as place, null::timestamptz as occurred_at, null::bigint as"
                " sequence, null as event_type, map()::map(varchar, varchar) as identifiers, null as properties"
                " where false)",
                "everybody",
                self.identity,
            )
            find_keyed(connection, "everybody", self.identity)
            keys = connection.execute("select place, namespace, identifier from everybody").fetchall()
            texts = [(place, namespace, decoded(text)) for place, namespace, text in said] + keys
            kind = pa.map_(pa.string(), pa.string())
            connection.register(
                "said",
                pa.table(
                    {
                        "place": pa.array([place for place, _, _ in texts], pa.string()),
                        "identifiers": pa.array([[(namespace, text)] for _, namespace, text in texts], kind),
                    }
                ),
            )
            self._find(connection, f"(select place, {_NO_EVENT}, identifiers from said)")
            named = connection.execute("select place, namespace, pseudonym from named").fetchall()
        theirs = {place for place, namespace, pseudonym in named if (namespace, pseudonym) in person.identifiers}
        return sorted(theirs | {place for (place,) in found})

    def _teach(self, connection: duckdb.DuckDBPyConnection) -> None:
        teach(connection, anybodys(self.namespaces), _HIDDEN)
        teach_keyed(connection, self.secret)
        connection.execute("set variable hidden = $1::varchar[]", [sorted(self.namespaces)])
        connection.register("hidden", pa.table({"namespace": pa.array(sorted(self.namespaces), pa.string())}))

    def _find(self, connection: duckdb.DuckDBPyConnection, rows: str) -> None:
        """The table `named(place, role, namespace, identifier, pseudonym)` of what is hidden.

        Identifiers of the hidden namespaces, and of others what holds an address or a number, or is the same text.
        """
        find_named(connection, rows, "everybody", self.identity)
        connection.execute(
            f"""
            create or replace temp table named as
            select place, role, namespace, identifier, 'hmac:' || keyed(namespace || ':' || identifier) as pseudonym
            from everybody
            where namespace in (select namespace from hidden)
                or is_name(identifier)
                or (
                    length(identifier) >= {SHORTEST} and (place, lower(identifier)) in (
                        select (place, lower(identifier)) from everybody
                        where namespace in (select namespace from hidden)
                    )
                )
            """
        )

    def _hidden(self, connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> pa.Table:
        self._teach(connection)
        self._find(connection, numbered(connection, rows))
        texts = [name for name in (*_TEXTS, *_OF_REJECTED) if name in rows.column_names]
        if "field" in texts:
            # What was refused may have anything for a namespace.
            declared = self.identity.columns()["namespaces"]["namespace"].to_pylist()
            connection.execute("set variable declared = $1::varchar[]", [declared])
            connection.execute(
                """
                update landed set
                    identifiers = map_from_entries(list_filter(
                        map_entries(identifiers), lambda entry: list_contains(getvariable('declared'), entry.key)
                    )),
                    field = case
                        when starts_with(field, 'identifiers.')
                            and not list_contains(getvariable('declared'), substr(field, length('identifiers.') + 1))
                            then 'identifiers'
                        else field
                    end
                """
            )
        without = ", ".join(
            f"{'json_without_names' if name in _JSON else 'without_names'}({name}) as {name}" for name in texts
        )
        connection.execute(
            f"""
            create or replace temp table written as
            select place, entry.key as namespace, entry.value as text
            from (select place, unnest(map_entries(identifiers)) as entry from landed)
            where entry.key in (select namespace from hidden)
            union
            select place, namespace, identifier from named
            union
            -- A telephone number may stand elsewhere without its plus.
            select place, namespace, ltrim(identifier, '+') from named;
            create or replace temp table cleared as
            select * replace (
                {without},
                case
                    when is_named(event_id) then 'hmac:' || keyed('event_id:' || event_id) else event_id
                end as event_id
            )
            from landed;
            """
        )
        self._register_own(connection, texts)
        own = ", ".join(
            f"own_json({name}, own.around, own.numbers) as {name}"
            if name in _JSON
            else f"own_text({name}, own.around) as {name}"
            for name in texts
            if name != "properties"
        )
        hidden = connection.sql(
            f"""
            with
            pseudonyms as (
                select
                    place,
                    map_from_entries(list(struct_pack(k := namespace, v := pseudonym) order by namespace)
                        filter (where role <> 'merged_with')) as named,
                    map_from_entries(list(struct_pack(k := namespace, v := pseudonym) order by namespace)
                        filter (where role = 'merged_with')) as merged
                from named group by place
            )
            select cleared.* replace (
                map_from_entries(list_transform(
                    map_entries(cleared.identifiers),
                    lambda entry: struct_pack(k := case
                        when is_named(entry.key) then 'hmac:' || keyed(entry.key) else entry.key
                    end, v := coalesce(
                        pseudonyms.named[entry.key],
                        case
                            when own_text(entry.value, own.around) <> entry.value
                                then 'hmac:' || keyed(entry.key || ':' || entry.value)
                        end,
                        entry.value
                    ))
                )) as identifiers,
                {own},
                case
                    when own.around is not null and own_text(event_id, own.around) <> event_id
                        then 'hmac:' || keyed('event_id:' || event_id)
                    else event_id
                end as event_id,
                case
                    when pseudonyms.merged is null then own_json(properties, own.around, own.numbers)
                    else json_merge_patch(
                        own_json(properties, own.around, own.numbers), json_object('with', pseudonyms.merged)
                    )
                end as properties
            )
            from cleared
            left join pseudonyms using (place)
            left join own using (place)
            order by cleared.place::bigint
            """
        ).to_arrow_table()
        return hidden.select(rows.column_names).cast(rows.schema)

    def _register_own(self, connection: duckdb.DuckDBPyConnection, texts: Sequence[str]) -> None:
        """The table `own(place, around, numbers)`: patterns of records that say an identifier of their own once more.

        Few do, once addresses and numbers are gone: a pattern for each record would cost more than the landing.
        """
        connection.execute(
            rf"""
            -- Octets that are no ASCII stay: what is no UTF-8 cannot be decoded.
            create or replace temp macro plain_url(written) as
                url_decode(regexp_replace(written, '%([89A-Fa-f])', '\\x\1', 'g'));
            create or replace temp table haystacks as
            select place, text, lower(text || chr(10) || plain_url(plain_url(plain_url(text)))) as said
            from (
                select place, concat_ws(
                    chr(10), event_id, {", ".join(texts)}, array_to_string(map_values(identifiers), chr(10))
                ) as text
                from (
                    select * replace (map_from_entries(list_filter(
                        map_entries(identifiers), lambda entry: not list_contains(getvariable('hidden'), entry.key)
                    )) as identifiers) from cleared
                )
            )
            """
        )
        found = connection.execute(
            rf"""
            select place, list(distinct namespace || chr(31) || name)
            from (select place, namespace, text as name from written) as written
            inner join haystacks using (place)
            where length(name) > 0 and (
                contains(said, lower(name))
                or contains(said, md5(lower(name)))
                or contains(said, sha1(lower(name)))
                or contains(said, sha256(lower(name)))
                or regexp_matches(haystacks.text, '(?i)\\+(?:u00|x)[2-7]|&(?:amp;)*(?:#|commat)|=[2-7][0-9A-F]')
                or (
                    (strlen(name) > length(name) or contains(name, 'xn--'))
                    and regexp_matches(haystacks.text, '\\+[ux]|%|[0-9A-Fa-f]{{32}}')
                )
                or regexp_matches(haystacks.text, '{BASE64}')
            )
            group by place
            """
        ).fetchall()
        own = []
        for place, pairs in found:
            theirs = patterns({tuple(pair.split("", 1)) for pair in pairs}, is_own=True)
            own.append({"place": place, "around": list(theirs.around), "numbers": list(theirs.numbers)})
        kind = pa.list_(pa.string())
        schema = pa.schema([("place", pa.string()), ("around", kind), ("numbers", kind)])
        connection.register("own", pa.Table.from_pylist(own, schema=schema))
        once = rf"regexp_replace({{}}, pattern, '\1{_HIDDEN}\2', 'g')"
        connection.execute(
            rf"""
            create or replace temp macro own_runs(written, around) as list_filter(
                list_distinct(regexp_extract_all(written, '{RUN}')),
                lambda run: len(list_filter(
                    decoded_run(rtrim(run, '=')),
                    lambda said: len(list_filter(around, lambda pattern: regexp_matches(said, pattern))) > 0
                )) > 0
            );
            create or replace temp macro own_text(written, around) as
                case when around is null or written is null then written else list_reduce(
                    around,
                    lambda found, pattern: {once.format(once.format("found"))},
                    list_reduce(own_runs(written, around), lambda found, run: replace(found, run, '{_HIDDEN}'), written)
                ) end;
            create or replace temp macro own_numbers(written, numbers) as list_reduce(
                numbers,
                lambda found, pattern: regexp_replace(found, pattern, '\1"{_HIDDEN}"\2', 'g'),
                written
            );
            create or replace temp macro own_json(written, around, numbers) as case
                when around is null or written is null then written
                when json_valid(own_text(own_numbers(written, numbers), around))
                    then own_text(own_numbers(written, numbers), around)
                else '{{}}'
            end
            """
        )

    def _seal(self, text: bytes) -> bytes:
        return _SEALED + self._cipher().encrypt(text)

    def _open(self, text: bytes) -> bytes:
        if not text.startswith(_SEALED):
            return text  # from before anything was sealed
        try:
            return self._cipher().decrypt(text.removeprefix(_SEALED))
        except InvalidToken as error:
            said = "rejected records are sealed under another secret: set JOURNEY_PSEUDONYM_KEY to that one"
            raise InputError(said) from error

    def _cipher(self) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"seal:{self.secret}".encode()).digest()))


def _replaced(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
