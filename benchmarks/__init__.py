"""Benchmarks against peers, on loopback: ``python -m benchmarks --help``.

One script per comparison, each a module with a ``NUMBER``, the peers it ``NEEDS`` and a ``run``.
``NOTES.md`` explains the results, ``RESULTS.md`` has those of the last run.
"""

ALL = (
    "meta_pipeline",
    "meta_records",
    "meta_slow_answers",
    "meta_floor",
    "hubspot",
    "posts",
    "posts_speed",
    "connections",
    "durable",
    "lag",
    "memory_slow",
    "memory_many",
    "imports",
    "starlette_request",
    "lanes",
    "full_outbox",
    "released_spans",
    "outbox_file",
    "backfill_dry_run",
    "backfill_outbox",
    "backfill_memory",
    "backfill_lag",
    "framework_requests",
    "webhooks_in",
    "pump",
    "console_pages",
    "postgres_append",
    "postgres_single",
    "postgres_notices",
    "postgres_claim",
    "postgres_workers",
    "postgres_held",
    "postgres_latency",
    "postgres_peers",
)
