"""The portal's deal pipelines: HubSpot's own, and one somebody added, which has numeric ids.

Source: HubSpot: pipelines API.
"""

from __future__ import annotations

from typing import Any

import attrs

_CREATED = "2024-01-15T09:30:00.000Z"


@attrs.frozen
class Stage:
    """One stage: its id, its label and how likely a deal in it is to be won."""

    id: str
    label: str
    probability: str


@attrs.frozen
class Pipeline:
    """One pipeline."""

    id: str
    label: str
    stages: tuple[Stage, ...]

    def wire(self, order: int) -> dict[str, Any]:
        """Return the pipeline as HubSpot sends it."""
        return {
            "id": self.id,
            "label": self.label,
            "displayOrder": order,
            "stages": self.stages_wire(),
            "createdAt": _CREATED,
            "updatedAt": _CREATED,
            "archived": False,
        }

    def stages_wire(self) -> list[dict[str, Any]]:
        """Return the stages as HubSpot sends them."""
        return [
            {
                "id": stage.id,
                "label": stage.label,
                "displayOrder": n,
                "metadata": {
                    "isClosed": str(stage.probability in ("0.0", "1.0")).lower(),
                    "probability": stage.probability,
                },
                "createdAt": _CREATED,
                "updatedAt": _CREATED,
                "archived": False,
                "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
            }
            for n, stage in enumerate(self.stages)
        ]


DEAL_PIPELINES = (
    Pipeline(
        "default",
        "Sales Pipeline",
        (
            Stage("appointmentscheduled", "Appointment Scheduled", "0.2"),
            Stage("qualifiedtobuy", "Qualified To Buy", "0.4"),
            Stage("presentationscheduled", "Presentation Scheduled", "0.6"),
            Stage("decisionmakerboughtin", "Decision Maker Bought-In", "0.8"),
            Stage("contractsent", "Contract Sent", "0.9"),
            Stage("closedwon", "Closed Won", "1.0"),
            Stage("closedlost", "Closed Lost", "0.0"),
        ),
    ),
    Pipeline(
        "1016571",
        "Affiliate sales",
        (
            Stage("2031245", "New", "0.3"),
            Stage("2031246", "Won", "1.0"),
            Stage("2031247", "Lost", "0.0"),
        ),
    ),
)


def stages_of(pipeline: str) -> tuple[str, ...]:
    """Return the stage ids of *pipeline*; none if there is no such pipeline."""
    return next((tuple(s.id for s in p.stages) for p in DEAL_PIPELINES if p.id == pipeline), ())
