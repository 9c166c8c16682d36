"""Answers of Meta, and any JSON, for tests that read them."""

import orjson
from hypothesis import strategies as st

from anytrack_async.transport.message import Response

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 2_803_999) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
ERROR_FIELDS = ("message", "type", "code", "error_subcode", "is_transient", "error_user_msg")


def response(body, status=200, headers=None):
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Response(status=status, headers=headers or {}, content=content)


def failed(code, subcode=None, status=400, headers=None):
    error = {"message": "m", "code": code, "error_subcode": subcode, "fbtrace_id": "T"}
    return response({"error": error}, status, headers)
