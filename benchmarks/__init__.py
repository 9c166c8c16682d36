"""How fast it is, measured against its peers on loopback: ``python -m benchmarks --help``.

One script per comparison, each a module with a ``NUMBER``, the peers it ``NEEDS`` and a ``run``.
What was learnt on the way is in ``NOTES.md``, what came out last in ``RESULTS.md``.
"""

ALL = (
    "meta_pipeline",
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
)
