"""What a build has to hold before it becomes a release: its records, and the customers of the release before it.

A wrong mapping rejects most records, a wrong source knows nobody: every check of such tables passes.
"""

from __future__ import annotations

import duckdb

from journey_core.errors import RefusedError
from journey_core.release import Release
from journey_core.warehouse import Warehouse

#: More than this share is most of them.
_MOST = 0.5

# Erased people's records are rejected for another reason, and what an event's other copies say is no fault of a source.
_REJECTED = """
    select
        coalesce(sum(records), 0)::bigint as records,
        coalesce(sum(records) filter (where outcome = 'rejected'), 0)::bigint as rejected,
        arg_max(reason, records) filter (where outcome = 'rejected') as reason
    from marts.event_outcomes
    where reason not in ('erased', 'conflicting_duplicate')
"""
# Customers merge and split; lost is who is known by none of their identifiers any more.
_LOST = """
    with

    published as (select customer_id, namespace, identifier from read_parquet($1)),

    known as (select distinct namespace, identifier from marts.identity_map),

    customers as (
        select published.customer_id, bool_or(known.identifier is not null) as is_known
        from published
        left join known on published.namespace = known.namespace and published.identifier = known.identifier
        group by published.customer_id
    )

    select count(*) as customers, count(*) filter (where not is_known) as lost from customers
"""
_GAPS = """
    select count(*) from (
        select topic, generation, partition, from_offset, cause from marts.landing_gaps
        except
        select topic, generation, partition, from_offset, cause from read_parquet($1)
    ) as gaps
"""


def require_accepted(warehouse: Warehouse) -> None:
    """Raises RefusedError where most records of the last build are rejected."""
    with warehouse.connect() as connection:
        ((records, rejected, reason),) = connection.execute(_REJECTED).fetchall()
    if rejected > records * _MOST:
        raise RefusedError(
            f"{rejected:,} of {records:,} records are rejected, most of them as `{reason}`: nothing is published. "
            "Look at staging.rejected_events, mend the producer or the mapping, then: journey replay-rejected, "
            "or build the file again. If that is how it should be: journey publish --accept-rejected"
        )


def require_kept(warehouse: Warehouse, before: Release) -> None:
    """Raises RefusedError where most customers of the release `before` are lost, and no new gap in landing says why.

    Who was erased left the releases too, and is no loss.
    """
    try:
        files = {name: [str(file) for file in before.files(name)] for name in ("identity_map", "landing_gaps")}
        with warehouse.connect() as connection:
            ((customers, lost),) = connection.execute(_LOST, [files["identity_map"]]).fetchall()
            ((gaps,),) = connection.execute(_GAPS, [files["landing_gaps"]]).fetchall()
    except (KeyError, duckdb.Error):
        return  # a release of before these tables, or damaged: it holds back no better one
    if lost > customers * _MOST and not gaps:
        raise RefusedError(
            f"{lost:,} of the {customers:,} customers of release {before.name} are not in this build: nothing is "
            "published. Was it built from another source, or as of an earlier time? Run: journey build. If that is "
            "how it should be: journey publish --accept-shrinking"
        )
