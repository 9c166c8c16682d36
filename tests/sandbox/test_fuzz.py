"""Whatever a client sends, every service replies."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from anytrack_async.sandbox import HubSpotPortal, SandboxSettings, create_app
from anytrack_async.sandbox.request import Request
from tests.examples import examples

KEYS = st.sampled_from(
    [
        "data",
        "inputs",
        "id",
        "idProperty",
        "properties",
        "objectWriteTraceId",
        "associations",
        "types",
        "to",
        "from",
        "filterGroups",
        "filters",
        "operator",
        "values",
        "limit",
        "after",
        "name",
        "label",
        "type",
        "fieldType",
        "groupName",
        "options",
        "eventName",
        "uuid",
        "email",
        "event_name",
        "event_time",
        "event_id",
        "action_source",
        "user_data",
        "custom_data",
        "value",
        "currency",
        "click_id",
        "conversion_type",
        "revenue",
        "timestamp",
        "order_id",
        "sub_ids",
        "source",
        "campaign_id",
    ]
)
TEXTS = st.sampled_from(["sale", "Lead", "website", "email", "EQ", "IN", "40001", "101", "1", "ü"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2_000_000_000) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=8)
PATHS = st.sampled_from(
    [
        "/v1/conversions",
        "/v26.0/1234567890/events",
        "/crm/objects/2026-09/deals",
        "/crm/objects/2026-09/deals/40001",
        "/crm/objects/2026-09/deals/search",
        "/crm/objects/2026-09/contacts/batch/upsert",
        "/crm/objects/2026-09/deals/batch/create",
        "/crm/objects/2026-09/deals/batch/read",
        "/crm/objects/2026-09/deals/batch/update",
        "/crm/associations/2026-09/deals/contacts/batch/associate/default",
        "/crm/associations/2026-09/deals/contacts/batch/read",
        "/crm/properties/2026-09/deals",
        "/crm/properties/2026-09/deals/groups",
        "/oauth/2026-09/token",
        "/events/custom/2026-09/send/batch",
    ]
)
TOKENS = {
    "/v1": b"Bearer sandbox-api-key",
    "/v2": b"Bearer sandbox-meta-token",
}


@settings(max_examples=examples(400), deadline=None)
@given(path=PATHS, method=st.sampled_from(["GET", "POST", "PATCH", "PUT"]), body=OBJECTS | JSON)
def test_any_json_gets_a_reply(path, method, body):
    app = create_app(SandboxSettings(hubspot=HubSpotPortal(limit=1_000_000)))
    headers = [
        (b"authorization", TOKENS.get(path[:3], b"Bearer sandbox-hubspot-token")),
        (b"x-account-id", b"sandbox-account"),
        (b"content-type", b"application/json"),
    ]

    for _ in range(2):
        request = Request(method, path, b"", headers, orjson.dumps(body))
        reply, _ = app.service_for(path).respond(request, None)
        assert reply.status < 500
        assert reply.status == 204 or orjson.loads(reply.body) is not None
    assert app.ledger.as_dict(ids=True)
