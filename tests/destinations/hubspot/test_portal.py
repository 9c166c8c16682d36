import pytest

from anytrack_async.destinations.hubspot.portal import Paths


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (
            "2026-09",
            {
                "deals": "crm/objects/2026-09/deals/batch/upsert",
                "contacts": "crm/objects/2026-09/contacts/batch/upsert",
                "associate": "crm/associations/2026-09/deals/contacts/batch/associate/default",
                "pipelines": "crm/pipelines/2026-09/deals",
                "properties": "crm/properties/2026-09/deals",
                "account": "account-info/2026-09/details",
                "token": "oauth/2026-09/token",
                "events": "events/custom/2026-09/send/batch",
            },
        ),
        (
            "2026-03",
            {
                "deals": "crm/objects/2026-03/deals/batch/upsert",
                "events": "events/2026-03/send/batch",
            },
        ),
        (
            "v3",
            {
                "deals": "crm/v3/objects/deals/batch/upsert",
                "contacts": "crm/v3/objects/contacts/batch/upsert",
                "associate": "crm/v4/associations/deals/contacts/batch/associate/default",
                "pipelines": "crm/v3/pipelines/deals",
                "properties": "crm/v3/properties/deals",
                "account": "account-info/v3/details",
                "token": "oauth/v1/token",
                "events": "events/v3/send/batch",
            },
        ),
    ],
)
def test_each_version_has_its_paths(version, expected):
    paths = Paths(version)
    actual = {
        name: "/".join(
            paths.upsert(name) if name in ("deals", "contacts") else getattr(paths, name)
        )
        for name in expected
    }

    assert actual == expected
