"""Which deals and contacts belong together."""

from __future__ import annotations

TYPE_IDS = {("deals", "contacts"): 3, ("contacts", "deals"): 4}
OTHER = {"deals": "contacts", "contacts": "deals"}
OBJECT_TYPE_IDS = {"contacts": "0-1", "deals": "0-3"}


class Links:
    """Deals' contacts; a pair is linked once, whichever way round it is said."""

    def __init__(self) -> None:
        self._contacts: dict[int, tuple[int, ...]] = {}
        self.count = 0

    def add(self, kind: str, number: int, other: int) -> None:
        """Link the record *number* of *kind* to the record *other* of the other kind."""
        deal, contact = (number, other) if kind == "deals" else (other, number)
        linked = self._contacts.get(deal, ())
        if contact not in linked:
            self._contacts[deal] = (*linked, contact)
            self.count += 1

    def of(self, kind: str, number: int) -> tuple[int, ...]:
        """Return what the record *number* of *kind* is linked to."""
        if kind == "deals":
            return self._contacts.get(number, ())
        # From a contact to its deals is asked for in tests only: a second index would cost every
        # deal of a back-fill.
        return tuple(deal for deal, linked in self._contacts.items() if number in linked)
