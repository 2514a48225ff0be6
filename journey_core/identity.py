"""How identifiers become customers: the taxonomy's `identity`, as the rows that the models of `sql/` read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Literal

import duckdb
import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.func import PythonUDFType
from duckdb.sqltypes import VARCHAR
from pydantic import AfterValidator, Field

from journey_core import phones
from journey_core.documents import Document, Mistake
from journey_core.events import IDENTIFIER_CLASSES

#: What stands where an identifier should, in the logs of analytics tools (Amplitude, Mixpanel, PostHog and Segment
#: refuse most of these): one of them would merge a thousand people. Lower case; punctuation around it does not count,
#: nor does what stands between its words where four letters are left, nor how often it is said.
PLACEHOLDERS = (
    "", "-1", "\\n", "anon", "anonymous", "anonymous_user", "distinct_id", "distinctid", "false", "guest", "guest_user",
    "id", "invalid", "logged_out", "missing", "n/a", "na", "nan", "nil", "no_value", "none", "not available",
    "not provided", "not set", "not_authenticated", "not_available", "not_logged_in", "not_provided", "not_set", "null",
    "object object",
    "test", "true", "unauthenticated", "undefined", "unidentified", "unknown", "unknown_customer",
    "unknown_user", "user_id", "userid", "void",
)  # fmt: skip

_LEAST_LETTERS, _MOST_REPEATS = 4, 4

#: SQL: the spellings by which a name is looked for among the placeholders. Most names begin and end with a letter or a
#: digit, and hold a digit: those cost least. A name with a digit that is not 0 is compared as it is written.
_SPELLINGS = r"""
create or replace temp macro folded_name(written) as
    lower(case when strlen(written) <> length(written) then compatible_characters(written) else written end);
create or replace temp macro bare_name(folded) as
    case
        when (left(folded, 1) between '0' and '9' or left(folded, 1) between 'a' and 'z')
            and (right(folded, 1) between '0' and '9' or right(folded, 1) between 'a' and 'z')
            then folded
        else trim(folded, ' !"#$%&''()*+,-./:;<=>?@[\]^_`{|}~¡¿«»‐‑–—‘’“”…')
    end;
create or replace temp macro joined_name(folded) as
    case
        when regexp_full_match(folded, '[^1-9@]*[^a-z0-9@][^1-9@]*')
            then nullif(regexp_replace(folded, '[^\pL\pN]', '', 'g'), '')
    end;
create or replace temp macro is_unfilled(folded) as  -- noughts only, or a template's variable
    regexp_full_match(
        folded, '[\pP\s+]*0[0\pP\s+]*|[$#@%]\{[^{}]*\}|\{\{.*\}\}|%[a-z_]+%|<%.*%>'
    );
"""  # noqa: RUF001

_MOST_WARNINGS = 5
_FIXED = {name: kind for kind, names in IDENTIFIER_CLASSES.items() for name in names}


def _known_region(code: str) -> str:
    if code not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"unknown region `{code}`; write two capital letters (ISO 3166), as ES")
    return code


# Producers write what they like: `Customer_ID` can be declared, too. A colon would be taken for the prefix of a name.
Namespace = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.\-]*$", max_length=60)]
Region = Annotated[str, AfterValidator(_known_region)]


class SuspectedPlaceholder(Document):
    """A strong id that was seen with more devices, or more contacts, than this is nobody's: it links nothing."""

    devices: Annotated[int, Field(ge=1, le=2**31)] = 100
    contacts: Annotated[int, Field(ge=1, le=2**31)] = 20


class Identity(Document):
    """How identifiers become customers. A namespace that neither the contract nor `namespaces` declares links nothing.

    `placeholders` are values beside the usual ones that name nobody, in any namespace. `default_region` is the region
    of phone numbers that do not say theirs.
    """

    shared_devices: Literal["device_split", "last_authenticated", "none"] = "device_split"
    limits: dict[Namespace, Annotated[int, Field(ge=1, le=2**31)]] = {}
    namespaces: dict[Namespace, Literal["strong", "contact", "device"]] = {}
    placeholders: list[str] = []
    default_region: Region | None = None
    suspected_placeholder: SuspectedPlaceholder = SuspectedPlaceholder()

    def columns(self) -> dict[str, dict[str, pa.Array]]:
        """The tables of schema `taxonomy` that identity reads: name → columns."""
        classes = _FIXED | {name: kind for name, kind in self.namespaces.items() if name not in _FIXED}
        namespaces = dict(sorted(classes.items(), key=lambda item: list(IDENTIFIER_CLASSES).index(item[1])))
        # The name of a namespace is a template's variable that nobody has filled in.
        written = {*PLACEHOLDERS, *map(_folded, (*self.placeholders, *classes))}
        placeholders = sorted({spelling for text in written for spelling in (text, *_joined(text))})
        return {
            "identity": {
                "shared_devices": pa.array([self.shared_devices], pa.string()),
                "default_region": pa.array([self.default_region or ""], pa.string()),
                # Another version knows other numbering plans: builds on what an older one said begin anew.
                "phone_plans": pa.array([phonenumbers.__version__], pa.string()),
                "most_devices": pa.array([self.suspected_placeholder.devices], pa.int64()),
                "most_contacts": pa.array([self.suspected_placeholder.contacts], pa.int64()),
            },
            "namespaces": {
                "namespace": pa.array(list(namespaces), pa.string()),
                "class": pa.array(list(namespaces.values()), pa.string()),
                # The smaller, the stronger: by class, then in the contract's order, configured ones last.
                "strength": pa.array(range(len(namespaces)), pa.int32()),
                "max_strong_identifiers": pa.array([self.limits.get(name) for name in namespaces], pa.int64()),
            },
            "placeholders": {"placeholder": pa.array(placeholders, pa.string())},
        }


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make known to a connection what identifiers are normalised by: `phone_number`, `folded_name`, `bare_name`, ..."""
    phones.register(connection)
    with suppress(duckdb.NotImplementedException, duckdb.CatalogException):  # it is already
        connection.create_function("compatible_characters", _compatible, [VARCHAR], VARCHAR, type=PythonUDFType.ARROW)
    connection.execute(_SPELLINGS)


def _compatible(written: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_normalize(written, form="NFKC")


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text.strip()).lower()


def _joined(text: str) -> Iterator[str]:
    """Without what stands between its words, said once or more; nothing where too little would be left."""
    letters = re.sub(r"[\W_]", "", text)
    if len(letters) >= _LEAST_LETTERS and letters.isalpha():
        yield from (letters * times for times in range(1, _MOST_REPEATS + 1))


def identity_warnings(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Of the tables of a build, who links nothing and perhaps should: a line each, the largest few."""
    suspects = """
        select namespace, identifier, sum(events) as events,
            string_agg(other_namespace || ' ' || other_identifier, ', ' order by other_namespace) as seen_with
        from marts.identity_refusals where rule = 'suspected_placeholder'
        group by namespace, identifier order by events desc, namespace, identifier
    """
    rows = connection.execute(suspects).fetchall()
    for namespace, identifier, _, seen_with in rows[:_MOST_WARNINGS]:
        yield (
            f"{namespace} `{identifier}` looks like a placeholder, and links nothing: seen with {seen_with}. If it is "
            "one customer's, raise `identity: {suspected_placeholder: ...}`"
        )
    if len(rows) > _MOST_WARNINGS:
        yield f"{len(rows) - _MOST_WARNINGS:,} more of them: marts.identity_refusals"
    undeclared = """
        select namespace, events, nearest_namespace from intermediate.undeclared_namespaces
        order by events desc, namespace limit $1
    """
    for namespace, events, nearest in connection.execute(undeclared, [_MOST_WARNINGS]).fetchall():
        yield (
            f"{events:,} events name `{namespace}`, which is not declared and links nothing. Is `{nearest}` meant? "
            "Else declare it: `identity: {namespaces: ...}`"
        )


def mistakes_of_identity(identity: Identity) -> Iterator[Mistake]:
    """What no single key can know: limits of namespaces that do not exist, classes that are fixed."""
    strong = {name for name, kind in identity.namespaces.items() if kind == "strong"}
    known = set(_FIXED) - set(IDENTIFIER_CLASSES["strong"]) | set(identity.namespaces) - strong
    for namespace in identity.limits:
        if namespace not in known:
            yield ("identity", "limits", namespace), f"no namespace to limit; known: {', '.join(sorted(known))}"
    for namespace in identity.namespaces:
        if namespace in _FIXED:
            yield ("identity", "namespaces", namespace), "the class of a namespace of the contract is fixed"
