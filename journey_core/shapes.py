r"""The shapes in which an identifier stands in a text: one list, for erasures, pseudonyms and the tests' scan alike.

| shape | example for `ann@x.de` |
|---|---|
| plain, in upper or lower case, in each Unicode form | `Ann@X.de` |
| JSON-escaped, also JSON within JSON | `ann\u0040x.de` |
| percent-encoded up to three times, quoted-printable, `\x` | `ann%40x.de`, `ann%2540x.de`, `ann=40x.de` |
| HTML-escaped | `ann&#64;x.de`, `ann&#x40;x.de`, `ann&commat;x.de` |
| its domain in Unicode or in punycode (IDNA 2008) | `ann@exämple.de`, `ann@xn--exmple-cua.de` |
| a phone number with `00`, with separators | `0034 600-111-222` |
| base64 and base64url, also within a longer text | `YW5uQHguZGU` |
| hex digest of its lower case: MD5, SHA-1, SHA-256 | what advertising platforms take |
| with its namespace, where it alone could be anybody's | `customer_id:42`, `?customer_id=42`, `"customer_id": 42` |

The patterns are RE2's (DuckDB). Base64 is decoded first. Each pattern has two groups of what stands around: `\1`
before, `\2` behind.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from html.entities import html5
from urllib.parse import unquote

import duckdb
import idna

ERASED = "(erased)"
_LONGEST = 6_000  # characters of one pattern: RE2 falls back to a slower way where its automaton is large
SHORTEST = 6  # characters of a text that tells whose it is without its namespace
# Letters and digits; an `e` alone may be a number's.
_MIXED = re.compile(r"(?i)(?=.*\d).*[a-df-z]")
_PHONE = re.compile(r"\+[1-9][0-9]{6,}")
_NAMED_ENTITIES = {
    text: sorted({name.rstrip(";") for name, of in html5.items() if of == text}) for text in set(html5.values())
}
_JSON_NAMES = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}

_PERCENT = r"%(?:25){0,2}"
_ESCAPE = rf"(?:{_PERCENT}|=|\\+(?:x|u00))"  # in front of two hexadecimal digits
_NO_LETTER = r"(?:[01289A-F][0-9A-F]|3[A-F]|40|5[B-F]|60|7[B-F])"  # in hexadecimal
# An escaped separator ends in a letter or digit, as `%3D` and `\n` do.
_BEFORE = rf"{_ESCAPE}{_NO_LETTER}|\\+[bfnrt]|^|[^0-9A-Za-z]"
# `ann-41@x.de` is another name than `ann-41`, however its @ is written.
_NO_AT = r"&(?:$|[^#c]|#(?:0*[0-57-9]|06?[^4]|x0*[^04]))|\\+(?:$|[^\\ux]|u(?:[^0]|0[^0]|00[^4])|x[^4])"
_BEHIND = (
    rf"$|[^0-9A-Za-z@%&\\]|{_PERCENT}(?:2[0-9A-F]|3[A-F]|5[B-F]|60|7[B-F]|[89A-F][0-9A-F])|%(?:$|[^0-9A-Fa-f])|{_NO_AT}"
)
# Where another name is known that continues this one with `-`, `_`, `.`, `+`.
_STRICTLY_BEFORE = (
    rf"^|[^0-9A-Za-z._%+\-]|{_ESCAPE}(?:[0189A-F][0-9A-F]|2[0-9AC]|2F|3[A-F]|40|5[B-E]|60|7[B-F])|\\+[bfnrt]"
)
_STRICTLY_BEHIND = (
    rf"$|[^0-9A-Za-z_@%.+&\\\-]|\.(?:$|[^0-9A-Za-z])|{_PERCENT}(?:2[0-9ACF]|3[A-F]|5[B-E]|60|7[B-F])"
    rf"|%(?:$|[^0-9A-Fa-f])|{_NO_AT}"
)
# `crm_customer_id` is another namespace than `customer_id`.
_BEFORE_NAMESPACE = (
    rf"^|[^0-9A-Za-z_\-]|{_ESCAPE}(?:[0189A-F][0-9A-F]|2[0-9A-CEF]|3[A-F]|40|5[B-E]|60|7[B-F])|\\+[bfnrt]"
)
_QUOTE = rf"""(?:\\*["']|{_ESCAPE}2[27]|&(?:amp;)*(?:quot|apos|#0*3[49]|#x0*2[27]);?)?"""
_SEPARATOR = (
    rf"[\s+]*\]?(?:[:=\-_./|]|{_ESCAPE}(?:3[AD]|2[DEF]|5F|7C)"
    r"|&(?:amp;)*(?:colon|equals|#0*(?:58|61)|#x0*3[AD]);?)[\s+]*"
)

# Base64 of printable ASCII: six bits of the first octet, two and four, four and two. Of other words hardly any fits.
_PRINTABLE = "[I-Za-f][C-HS-Xi-ny-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][0-9A-Za-z+/_-]"
BASE64 = f"(?:{_PRINTABLE}){{2}}"
RUN = f"[0-9A-Za-z+/_-]*{BASE64}[0-9A-Za-z+/_-]*={{0,2}}"
#: SQL: what a run of base64 or base64url says, from each character of a group of four on.
_DECODED = """
create or replace temp macro decoded_run(run) as list_transform(
    list_transform([0, 1, 2, 3], lambda skipped: replace(replace(substr(run, 1 + skipped), '-', '+'), '_', '/')),
    lambda part: from_base64(
        rpad(part[: length(part) - (length(part) % 4 = 1)::bigint], ((length(part) + 2) // 4 * 4)::integer, '=')
    )::varchar
);
"""


@dataclass(frozen=True)
class Patterns:
    """What finds a person in texts.

    `around` replace what they find between their two groups. `numbers` find a bare number in JSON, which needs quotes
    afterwards. `whole` is the whole text. Each may be empty.
    """

    around: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()


def patterns(
    identifiers: Collection[tuple[str, str]],
    names: Collection[str] = (),
    others: Collection[str] = (),
    *,
    is_own: bool = False,
) -> Patterns:
    """The patterns of a person: `identifiers` are (namespace, normalised identifier), `names` other names of theirs.

    `others` are identifiers of other people. One that contains a name of this person (`mary-ann@x.de`) must not be
    taken for it, so that name is then found only where nothing continues it. In a record of the person's own (`is_own`)
    a word or a number is theirs, too.
    """
    texts = {*names, *(identifier for _, identifier in identifiers)}
    texts = {text for text in texts if (len(text) >= SHORTEST if is_own else tells(text))}
    continued = {text for text in texts if any(text.lower() in other.lower() != text.lower() for other in others)}
    around = [
        *_chunks(_BEFORE, map(spelled, texts - continued), _BEHIND),
        *_chunks(_STRICTLY_BEFORE, map(spelled, continued), _STRICTLY_BEHIND),
        *_chunks("^|[^0-9A-Za-z]", set[str]().union(*map(_digests, texts)), "$|[^0-9A-Za-z]"),
    ]
    numbers = []
    if is_own and (digits := sorted({text.lstrip("+") for text in texts} & {text for text in texts if text.isdigit()})):
        numbers.append(rf"([:\[,]\s*)(?:{'|'.join(digits)})(\s*[,}}\]])")
    for namespace in sorted({namespace for namespace, _ in identifiers}):
        theirs = {identifier for of, identifier in identifiers if of == namespace}
        named = re.escape(namespace).replace("_", "[_-]?")
        around += _chunks(f"(?:{_BEFORE_NAMESPACE}){named}{_QUOTE}{_SEPARATOR}{_QUOTE}", map(spelled, theirs), _BEHIND)
        if digits := sorted(text for text in theirs if text.isdigit()):
            numbers.append(rf'(?i)("{named}"\s*:\s*)(?:{"|".join(digits)})(\s*[,}}\]])')
    bare = {text for _, text in identifiers}
    return Patterns(tuple(around), tuple(numbers), tuple(_chunks("^", map(spelled, bare), "$")))


def anybodys(namespaces: Collection[str]) -> Patterns:
    """The patterns of what is unmistakably an address or a number with its country, whosever it is."""
    whole = [ADDRESS] if "email" in namespaces else []
    cores = [*whole, *([f"(?:{_character('+')}|00){_NUMBER}"] if "phone" in namespaces else [])]
    whole += [f"{_character('+')}{_NUMBER}"] if "phone" in namespaces else []
    return Patterns(tuple(_chunks(_BEFORE, cores, _BEHIND)), (), tuple(_chunks(_BEFORE, whole, _BEHIND)))


def tells(text: str) -> bool:
    """Whether `text` tells whose it is wherever it stands: hardly anything else can be written so.

    Six characters or more, with an @, or letters and digits; or a phone number with its country. A word or a number
    would be found in the facts of others.

    >>> [tells(text) for text in ("ann@x.de", "user-7", "+34600111222", "600111222", "product_id")]
    [True, True, True, False, False]
    """
    return bool(len(text) >= SHORTEST and ("@" in text or _MIXED.search(text) or _PHONE.fullmatch(text)))


def spelled(text: str) -> str:
    """A regular expression of `text` in every encoding of its characters; `(?i)` belongs in front of it."""
    return _alternatives({_spelled_phone(text)} if _PHONE.fullmatch(text) else set(map(_spelled, _forms(text))))


def teach(connection: duckdb.DuckDBPyConnection, theirs: Patterns, instead: str = ERASED) -> None:
    """Create the macros `is_named(text)`, `is_name(text)`, `without_names(text)` and `json_without_names(json)`."""
    for kind, listed in (("around", theirs.around), ("number", theirs.numbers), ("whole", theirs.whole)):
        for place, pattern in enumerate(listed):
            connection.execute(f"set variable {kind}_{place} = $1", [pattern])

    def found(kind: str, count: int) -> str:
        terms = [f"regexp_matches(written, getvariable('{kind}_{place}'))" for place in range(count)]
        return f"coalesce({' or '.join(terms)}, false)" if terms else "false"

    def replaced(text: str, kind: str, count: int, new: str) -> str:
        # Twice: between two names side by side stands one character, which belongs to both.
        for place in [*range(count), *range(count)]:
            text = f"regexp_replace({text}, getvariable('{kind}_{place}'), '\\1{new}\\2', 'g')"
        return text

    # A replacement is nested in the next one.
    connection.execute(f"set max_expression_depth = {1000 + 4 * (len(theirs.around) + len(theirs.numbers))}")
    around, numbers = len(theirs.around), len(theirs.numbers)
    without = replaced("without_runs(written)", "around", around, instead)
    of_json = replaced(replaced("without_runs(written)", "number", numbers, f'"{instead}"'), "around", around, instead)
    connection.execute(
        f"""
        {_DECODED}
        create or replace temp macro is_plainly_named(written) as {found("around", around)};
        create or replace temp macro naming_runs(written) as case
            when regexp_matches(written, '{BASE64}') then list_filter(
                list_distinct(regexp_extract_all(written, '{RUN}')),
                lambda run: len(list_filter(decoded_run(rtrim(run, '=')), lambda said: is_plainly_named(said))) > 0
            )
        end;
        create or replace temp macro without_runs(written) as
            coalesce(
                list_reduce(naming_runs(written), lambda text, run: replace(text, run, '{instead}'), written), written
            );
        create or replace temp macro is_named(written) as
            is_plainly_named(written) or coalesce(len(naming_runs(written)) > 0, false);
        create or replace temp macro is_name(written) as {found("whole", len(theirs.whole))};
        create or replace temp macro without_names(written) as
            case when is_named(written) then {without} else written end;
        -- A text that is no JSON any more cannot stay.
        create or replace temp macro json_without_names(written) as case
            when not is_named(written) then written
            when json_valid({of_json}) or not json_valid(written) then {of_json}
            else '{{}}'
        end
        """
    )


def _chunks(before: str, cores: Iterable[str], behind: str) -> Iterator[str]:
    """Patterns of at most about `_LONGEST` characters each."""
    waiting = sorted(cores, reverse=True)
    while waiting:
        taken = [waiting.pop()]
        while waiting and sum(map(len, taken)) + len(waiting[-1]) <= _LONGEST:
            taken.append(waiting.pop())
        yield f"(?i)({before})(?:{'|'.join(taken)})({behind})"


def _forms(text: str) -> set[str]:
    """A text in each Unicode form, its domain as people and as DNS write it."""
    written = {text, text.casefold()}
    local, at, domain = text.rpartition("@")
    if at:
        for translate in (idna.encode, idna.decode):
            try:
                other = translate(domain, uts46=True)
            except (idna.IDNAError, UnicodeError):
                continue
            written.add(f"{local}@{other.decode() if isinstance(other, bytes) else other}")
    return {unicodedata.normalize(form, one) for one in written for form in ("NFC", "NFD", "NFKC")}


def _spelled(text: str) -> str:
    if "@" in text or not text.isascii():
        return "".join(map(_character, text))
    # Nobody encodes some letters of a cookie: all, or none. Its pattern would be ten times as long.
    some = "".join(re.escape(letter) if letter.isalnum() else _character(letter) for letter in text)
    octets = ([f"{ord(case):02X}" for case in sorted({letter.lower(), letter.upper()})] for letter in text)
    return f"(?:{some}|{''.join(_PERCENT + _alternatives(each) for each in octets)})"


def _spelled_phone(text: str) -> str:
    return f"(?:{_character('+')}|00){_BETWEEN}{_BETWEEN.join(text[1:])}"


@cache
def _character(character: str) -> str:
    """A regular expression of one character, however it is encoded."""
    codes = sorted({ord(case) for case in (character, character.lower(), character.upper()) if len(case) == 1})
    decimals, hexadecimals = (_alternatives([f"{code:{base}}" for code in codes]) for base in ("d", "X"))
    written = {re.escape(character), f"&(?:amp;)*#(?:0*{decimals}|x0*{hexadecimals});?"}
    if codes[-1] < 0x100:
        written.add(_ESCAPE + _alternatives([f"{code:02X}" for code in codes]))
    for case in map(chr, codes):
        written |= {f"&(?:amp;)*{re.escape(name)};?" for name in _NAMED_ENTITIES.get(case, ())}
        if not case.isascii():
            written.add("".join(rf"(?:{_PERCENT}|=|\\+x){octet:02X}" for octet in case.encode()))
            units = case.encode("utf-16-be").hex()
            written.add("".join(rf"\\+u{units[n : n + 4]}" for n in range(0, len(units), 4)))
    if character in _JSON_NAMES:
        written.add(rf"\\+{re.escape(_JSON_NAMES[character])}")
    if character == " ":
        written.add(r"\+")
    return _alternatives(written)


def _digests(text: str) -> set[str]:
    """What advertising platforms take instead of an address or a number: digests of its lower case, in hex."""
    forms = {form.lower() for form in _forms(text)} if tells(text) else set()
    written = forms | {form.removeprefix("+") for form in forms}
    names = ("md5", "sha1", "sha256")
    return {hashlib.new(name, one.encode(), usedforsecurity=False).hexdigest() for one in written for name in names}


def _alternatives(written: Collection[str]) -> str:
    return next(iter(written)) if len(written) == 1 else f"(?:{'|'.join(sorted(written))})"


_BETWEEN = rf"(?:[ ().\-/+\x{{A0}}\x{{2011}}]|{_ESCAPE}(?:2[089BDEF]|A0)){{0,3}}"
_NUMBER = f"{_BETWEEN}[1-9](?:{_BETWEEN}[0-9]){{6,}}"
# A letter or a digit, or what else a local part or a label may hold, however it is encoded.
_WORD = (
    rf"(?:[0-9a-z_+\-\x{{80}}-\x{{10FFFF}}]|{_ESCAPE}(?:2[BD]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9A]|[89A-F][0-9A-F])"
    r"|\\+u(?:0[1-9a-f][0-9a-f]{2}|[1-9a-f][0-9a-f]{3})|&(?:amp;)*#(?:x[0-9a-f]{1,5}|[0-9]{1,6});?)"
)
_DOT = _character(".")
ADDRESS = f"{_WORD}+(?:{_DOT}{_WORD}+)*{_character('@')}{_WORD}+(?:{_DOT}{_WORD}+)+"
CORES = {"email": f"(?i){ADDRESS}", "phone": f"(?i)(?:{_character('+')}|00){_NUMBER}"}


def decoded(text: str) -> str:
    """A text without its escapes, as often as they are nested.

    >>> decoded("ann%2540x.de"), decoded("ann&#64;x.de"), decoded(r"ann\u0040x.de")
    ('ann@x.de', 'ann@x.de', 'ann@x.de')
    """
    for _ in range(3):
        text = _HEXADECIMAL.sub(lambda found: chr(int(found[1] or found[2], 16)), html.unescape(unquote(text)))
    return text


_HEXADECIMAL = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
