"""Fingerprints of erased people: who has the file cannot read them, and a landing knows them again."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from journey_core import erasures as module
from journey_core.erasures import Erasures
from journey_core.errors import InputError
from journey_core.privacy import Person

AT = datetime(2026, 6, 1, tzinfo=UTC)
ANN = Person(frozenset({"ann-41"}), frozenset({("email", "ann@example.com"), ("customer_id", "ann-41")}), frozenset())
KEY = "a secret of the vault, kept elsewhere"


def matched(erasures: Erasures, *texts: str) -> dict[str, datetime]:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        listed = ", ".join(f"'{text}'" for text in texts)
        erasures.match(connection, f"select unnest([{listed}]) as text")
        rows = connection.execute("select text, epoch_us(erased_at) from erased_texts order by text").fetchall()
    return {text: datetime.fromtimestamp(at / 1e6, UTC) for text, at in rows}


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "erased.json"


@pytest.mark.parametrize("key", [None, KEY, "k" * 100], ids=["slow", "keyed", "longer than a block"])
def test_who_was_erased_is_known_again_and_nobody_else(file, key):
    Erasures.read(file, key).add(ANN, ["00ff"], AT)
    again = Erasures.read(file, key)
    assert again.knows("email", "ann@example.com")
    assert again.knows("name", "ann-41")
    strangers = [f"email:stranger{number}@example.com" for number in range(2_000)]
    assert matched(again, "email:ann@example.com", "name:ann-41", *strangers) == {
        "email:ann@example.com": AT,
        "name:ann-41": AT,
    }
    text = file.read_text()
    assert "ann" not in text
    for plain in ("email:ann@example.com", "ann@example.com"):
        for salted in (plain, f"{json.loads(text)['salt']}:{plain}"):
            assert hashlib.sha256(salted.encode()).hexdigest() not in text, "a fast hash can be enumerated"


def test_a_keyed_fingerprint_is_an_hmac(file):
    Erasures.read(file, KEY).add(ANN, [], AT)
    kept = json.loads(file.read_text())
    expected = hmac.new(KEY.encode(), f"{kept['salt']}:email:ann@example.com".encode(), hashlib.sha256).hexdigest()
    assert expected in kept["keyed"]


def test_few_strangers_are_hashed_slowly(file, monkeypatch):
    """Or else a landing would take as long as an attack."""
    people = frozenset(("email", f"erased{number}@example.com") for number in range(20))
    monkeypatch.setattr(module, "_SCRYPT", {"n": 2, "r": 8, "p": 1, "dklen": 32})
    Erasures.read(file).add(Person(frozenset(), people, frozenset()), [], AT)
    slow = []
    monkeypatch.setattr(module, "_scrypt", lambda salt, text: slow.append(text) or "none")
    matched(Erasures.read(file), *(f"email:stranger{number}@example.com" for number in range(5_000)))
    assert 0 < len(slow) < 5_000 / 100


@pytest.mark.parametrize(("key", "said"), [(None, "is not set"), ("another secret, as long as it", "is another one")])
def test_another_key_is_said_and_never_knows_nobody(file, key, said):
    Erasures.read(file, KEY).add(ANN, [], AT)
    with pytest.raises(InputError, match=f"JOURNEY_ERASURE_KEY, and that {said}: they would come back"):
        Erasures.read(file, key)


def test_fingerprints_of_before_stay_effective(file):
    """A file of an older version, and people who were erased before a key was set."""
    old = hashlib.sha256(b"salt:email:ann@example.com").hexdigest()
    file.write_text(json.dumps({"salt": "salt", "identifiers": {old: AT.isoformat()}, "records": ["r"]}))
    bob = Person(frozenset(), frozenset({("email", "bob@example.com")}), frozenset())
    Erasures.read(file).add(bob, [], AT)
    carl = Person(frozenset(), frozenset({("email", "carl@example.com")}), frozenset())
    Erasures.read(file, KEY).add(carl, [], AT)
    known = matched(Erasures.read(file, KEY), *(f"email:{name}@example.com" for name in ("ann", "bob", "carl", "dora")))
    assert sorted(known) == ["email:ann@example.com", "email:bob@example.com", "email:carl@example.com"]
    assert json.loads(file.read_text())["records"] == ["r"]


def test_erased_again_is_erased_later(file):
    later = datetime(2026, 7, 1, tzinfo=UTC)
    for at in (AT, later):
        Erasures.read(file).add(ANN, [], at)
    assert matched(Erasures.read(file), "email:ann@example.com") == {"email:ann@example.com": later}
    assert len(json.loads(file.read_text())["slow"]) == 3
