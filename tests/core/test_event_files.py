"""Files of canonical events: `journey build --events`."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from journey_core.contract import judge
from journey_core.errors import InputError
from journey_core.event_files import read_events
from tests.conftest import event

GOOD = [json.dumps(event(str(n), "2026-01-01 10:00")) for n in (1, 2)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"not json", "invalid_json"),
        (b'{"event_id": "\\ud800"}', "invalid_json"),
        (b'{"event_id": "caf\xe9"}', "invalid_json"),
        (GOOD[0].replace("2026-01-01T10:00:00Z", "0000-00-00").encode(), "invalid_value"),
    ],
)
def test_a_bad_line_is_one_rejected_record_with_its_line_number(tmp_path, bad, reason):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\r\n".join([b"\xef\xbb\xbf" + GOOD[0].encode(), b"", bad, GOOD[1].encode()]))
    judged = judge(read_events(path))
    assert sorted(judged.accepted["offset"].to_pylist()) == [1, 4]
    assert judged.rejected.select(["offset", "reason"]).to_pylist() == [{"offset": 3, "reason": reason}]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("e.jsonl", "\n".join(GOOD)), ("e.json", "[" + ",\n".join(GOOD) + "]"), ("e.json", "\n".join(GOOD))],
)
def test_events_come_in_lines_or_in_an_array_compressed_or_not(tmp_path, name, text, ending):
    path = tmp_path / (name + ending)
    pack = {"": bytes, ".gz": gzip.compress, ".zst": lambda data: pa.compress(data, "zstd", asbytes=True)}[ending]
    path.write_bytes(pack(text.encode()))
    assert [json.loads(value) for value in read_events(path)["value"].to_pylist()] == [
        json.loads(line) for line in GOOD
    ]


def test_an_array_of_events_loses_only_its_bad_member(tmp_path):
    path = tmp_path / "events.json"
    path.write_text(f'[{GOOD[0]},\n{{"event_id": 01}},\n{GOOD[1]}]')
    judged = judge(read_events(path))
    assert judged.accepted.num_rows == 2
    assert judged.rejected.select(["offset", "reason"]).to_pylist() == [{"offset": 2, "reason": "invalid_json"}]


def test_what_stands_behind_an_array_or_is_missing_there_is_counted(tmp_path):
    path = tmp_path / "events.json"
    path.write_text(f"[{GOOD[0]}]\n[{GOOD[1]}]\nmore\n[")
    judged = judge(read_events(path))
    assert judged.accepted.num_rows == 2
    assert judged.rejected.select(["offset", "reason"]).to_pylist() == [
        {"offset": 3, "reason": "invalid_json"},
        {"offset": 4, "reason": "invalid_json"},
    ]


def test_missing_values_of_parquet_are_absent_and_text_that_is_json_is_opened(tmp_path):
    path = tmp_path / "events.parquet"
    columns = {name: [value] for name, value in event("1", "2026-01-01 10:00", channel="app").items()}
    columns |= {"event_type": ["seen"], "identifiers": ['{"customer_id": "ann"}']}
    columns |= {"properties": ['{"price": 1.10, "none": null}'], "sequence": pa.array([None], pa.int64())}
    pq.write_table(pa.table(columns), path)
    (text,) = read_events(path)["value"].to_pylist()
    assert b'"properties":{"price": 1.10, "none": null}' in text
    assert "sequence" not in json.loads(text)
    assert judge(read_events(path)).accepted.num_rows == 1


def test_a_file_that_cannot_be_read_is_named_with_the_whole_reason(tmp_path):
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(InputError, match=r"events\.jsonl\.gz cannot be read: "):
        read_events(path)
