"""HMAC-SHA-256 (RFC 2104) in SQL: DuckDB has SHA-256, and no keyed hash."""

from __future__ import annotations

import hashlib

import duckdb

_BLOCK = 64  # bytes, of SHA-256


def teach_keyed(connection: duckdb.DuckDBPyConnection, secret: str) -> None:
    """Create the macro `keyed(text)`: the HMAC-SHA-256 of a text under `secret`, in hex."""
    key = hashlib.sha256(secret.encode()).digest() if len(secret.encode()) > _BLOCK else secret.encode()
    for name, pad in (("inner_pad", 0x36), ("outer_pad", 0x5C)):
        connection.execute(
            f"set variable {name} = $1::blob", [bytes(octet ^ pad for octet in key.ljust(_BLOCK, b"\0"))]
        )
    connection.execute(
        """
        create or replace temp macro keyed(written) as sha256(getvariable('outer_pad') || unhex(
            sha256(getvariable('inner_pad') || encode(written))
        ))
        """
    )
