"""The two written forms of the models, and the only package that imports cattrs.

* **Storage**: what an outbox keeps. `encode` and `decode` are an exact round trip; each record
  carries its version, so that a later release reads an older file.
* **Wire**: what AnyTrack answers. `read_…` are tolerant: numbers may come as text, times without
  zone are UTC, unknown keys are ignored, and one bad record does not lose a list.
"""

from typing import TYPE_CHECKING

from anytrack_async._lazy import lazily

if TYPE_CHECKING:
    from anytrack_async.codec.converter import load
    from anytrack_async.codec.storage import Encoded, decode, encode
    from anytrack_async.codec.wire import (
        read_affiliate,
        read_attribution,
        read_conversion,
        read_daily_report,
        read_list,
        read_touchpoint,
    )
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "converter": "load",
            "storage": "Encoded decode encode",
            "wire": (
                "read_affiliate read_attribution read_conversion read_daily_report read_list "
                "read_touchpoint"
            ),
        },
    )

__all__ = [
    "Encoded",
    "decode",
    "encode",
    "load",
    "read_affiliate",
    "read_attribution",
    "read_conversion",
    "read_daily_report",
    "read_list",
    "read_touchpoint",
]
