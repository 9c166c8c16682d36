"""From conversions to request bodies: mapped, checked before sending, encoded and split.

`Encoder` maps and encodes a batch slice by slice. The preflight (`find_refusals`) finds events for
which Meta would refuse the whole request. `split_into_requests` and `request_body` build bodies
from encoded events, so that each event is encoded once.

Source: Meta: Conversions API, using the API; best practices (combinations too broad to match).
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self

import anyio
import orjson
from anyio.lowlevel import checkpoint

from anytrack_async.clock import steady_time
from anytrack_async.destinations.meta.click_ids import (
    Weaknesses,
)
from anytrack_async.destinations.meta.event import to_events
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome

SLICE: Final = 64
"""Events mapped and encoded at a time: some 500 dicts and lists, fewer than the 700 new ones after
which Python's cyclic garbage collector would look at them."""

EVENTS_PER_TURN: Final = 3 * SLICE
"""Events between two checkpoints: nearly a millisecond, as long as other lanes take in a turn."""

_BODY_START: Final = b'{"data":['
_DAY: Final = 86_400  # seconds
_MAX_DAYS: Final = 7
_MAX_DAYS_IN_STORE: Final = 62

# Meta refuses an event if all its identifiers are in one of these sets.
_TOO_BROAD: Final = (
    frozenset(("ct", "country", "st", "zp", "ge", "client_user_agent")),
    frozenset(("db", "client_user_agent")),
    frozenset(("fn", "ge")),
    frozenset(("ln", "ge")),
)

_Outcomes = list[Outcome | None]
_Events = dict[int, dict[str, Any]]


# Bodies


class Chunk(NamedTuple):
    """Events that were encoded together.

    Attributes:
        indexes: the position of each event in the batch.
        encoded: the events as JSON, separated by commas.
        weaknesses: kind → how many of the events Meta matches less well.
    """

    indexes: Sequence[int]
    encoded: bytes
    weaknesses: Mapping[str, int] = {}

    @classmethod
    def of(
        cls, events: Mapping[int, Mapping[str, Any]], weaknesses: Mapping[str, int] | None = None
    ) -> Self:
        """Encode *events*, index → event.

        Raises:
            TypeError: an event has a value that JSON cannot hold.
        """
        # Slicing copies: orjson's own result keeps up to twice its length in memory.
        return cls(tuple(events), orjson.dumps([*events.values()])[1:-1], weaknesses or {})


def split_into_requests(chunks: Iterable[Chunk], max_bytes: int) -> Iterator[list[Chunk]]:
    """Yield *chunks* in groups that joined with commas have at most *max_bytes*.

    With chunks of 3, 4 and 2 bytes and a limit of 8, the first two go together: 3 + 1 + 4 = 8. A
    chunk that is longer than the limit goes alone.
    """
    group: list[Chunk] = []
    size = 0  # of the group, with a comma after each chunk
    for chunk in chunks:
        length = len(chunk.encoded)
        if group and size + length > max_bytes:
            yield group
            group, size = [], 0
        group.append(chunk)
        size += length + 1
    if group:
        yield group


def request_body(chunks: Sequence[Chunk], tail: bytes) -> bytes:
    """Return the body with the events of *chunks*; *tail* comes from `request_tail`."""
    parts = [_BODY_START]
    for chunk in chunks:
        parts += (chunk.encoded, b",")
    parts[-1] = tail
    return b"".join(parts)


def request_tail(settings: MetaSettings, token: str) -> bytes:
    """Return the end of every body, from the bracket that closes the events.

    ``appsecret_proof`` shows that the sender of *token* knows the app's secret.

    Source: Meta: Conversions API, main body parameters; Graph API, securing requests.
    """
    optional = {
        "test_event_code": settings.test_event_code,
        "partner_agent": settings.partner_agent,
        "appsecret_proof": app_secret_proof(settings, token),
    }
    parameters = {name: value for name, value in optional.items() if value}
    return b"]," + orjson.dumps(parameters)[1:] if parameters else b"]}"


def app_secret_proof(settings: MetaSettings, token: str) -> str | None:
    """Return the ``appsecret_proof`` of requests with *token*; None without an app secret."""
    if settings.app_secret is None:
        return None
    return hmac.new(settings.app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()


def max_event_bytes(settings: MetaSettings) -> int:
    """Return the bytes that `MetaSettings.max_bytes` leaves for the events of a request.

    A body of events only costs 11 bytes more than its events: ``{"data":[`` and ``]}``. Every token
    gives a tail of the same length, because its proof always has 64 digits.
    """
    return settings.max_bytes - len(_BODY_START) - len(request_tail(settings, ""))


# Preflight


class Refusal(NamedTuple):
    """Why Meta would refuse an event, and the whole request with it.

    Attributes:
        code: Meta's subcode for the reason.
        reason: the reason, with advice; free of customers' data.
    """

    code: str
    reason: str


_NO_VALUE = Refusal("2804009", "a Purchase needs a value")
_NO_CURRENCY = Refusal("2804010", "a Purchase needs a currency")
_APP_DATA: Final = ("advertiser_tracking_enabled", "application_tracking_enabled", "extinfo")
_NO_IDENTITY = Refusal(
    "2804050",
    "too little to match a customer by: add an e-mail address, phone number, external id, IP "
    "address, fbc or fbp",
)


def find_refusal(event: Mapping[str, Any], now: float) -> Refusal | None:
    """Return why Meta would refuse a request with *event* at *now* (unix seconds), if it would."""
    return find_refusals({0: event}, now).get(0)


def find_refusals(events: Mapping[int, Mapping[str, Any]], now: float) -> dict[int, Refusal]:
    """Return the `find_refusal` of *events*, index → event, for those that have one.

    Meta refuses a request for one bad event and does not say which. These checks cost no request.
    """
    refusals = {}
    for index, event in events.items():
        refusal = (
            (now - event["event_time"] > _MAX_DAYS * _DAY and _too_old(event, now))
            or (event["event_name"] == "Purchase" and _no_price(event))
            or (event["action_source"] == "app" and _incomplete_app_data(event))
            # Nearly all events have an e-mail address, which is in none of the broad sets.
            or ("em" not in event["user_data"] and _broad(event["user_data"]))
        )
        if refusal:
            refusals[index] = refusal
    return refusals


def _no_price(event: Mapping[str, Any]) -> Refusal | None:
    custom_data = event.get("custom_data", {})
    if custom_data.get("value") is None:
        return _NO_VALUE
    return None if custom_data.get("currency") else _NO_CURRENCY


def _incomplete_app_data(event: Mapping[str, Any]) -> Refusal | None:
    app_data = event.get("app_data", {})
    missing = [name for name in _APP_DATA if app_data.get(name) is None]
    if not missing:
        return None
    names = ", ".join(missing)
    return Refusal("100", f"an app event needs {names}: set it in MetaFields(app_data=…)")


def _broad(user_data: Mapping[str, Any]) -> Refusal | None:
    if "client_ip_address" in user_data or "ph" in user_data:  # which are in no broad set either
        return None
    # A user agent and a city are too broad: both are in the first set. With an IP address, which
    # is in no set, they identify.
    return _NO_IDENTITY if any(user_data.keys() <= broad for broad in _TOO_BROAD) else None


def max_days(action_source: str) -> int:
    """Return for how many days after it happened Meta takes an event.

    Source: Meta: Conversions API, server event parameters (`event_time`).
    """
    return _MAX_DAYS_IN_STORE if action_source == "physical_store" else _MAX_DAYS


def _too_old(event: Mapping[str, Any], now: float) -> Refusal | None:
    days = max_days(event["action_source"])
    if now - event["event_time"] <= days * _DAY:
        return None
    return Refusal("2804003", f"too old: Meta takes this event for {days} days after it happened")


def count_weaknesses(
    events: Collection[Mapping[str, Any]], mapping_weaknesses: Weaknesses
) -> Mapping[str, int]:
    """Return how many of *events* Meta will match or use less well, kind → events.

    Args:
        events: mapped events that will be sent.
        mapping_weaknesses: weaknesses that the mapping found, also in other events.
    """
    kinds = _customer_weaknesses(events, mapping_weaknesses) if mapping_weaknesses else []
    for event in events:
        if event["action_source"] == "website":
            if "client_user_agent" not in event["user_data"]:
                kinds.append("website events without user_agent")
            elif "event_source_url" not in event:
                kinds.append("website events without an http(s) page_url")
    return Counter(kinds) if kinds else {}


def _customer_weaknesses(
    events: Iterable[Mapping[str, Any]], mapping_weaknesses: Weaknesses
) -> list[str]:
    users = {id(event["user_data"]) for event in events}
    distinct = {(id(user), kind) for user, kind in mapping_weaknesses}  # both names may be unusable
    return [kind for user, kind in distinct if user in users]


# Encoding


class Encoder:
    """Maps, checks and encodes a batch, slice by slice.

    Args:
        settings: event names, sources and limits.
    """

    def __init__(self, settings: MetaSettings) -> None:
        self.max_event_bytes = max_event_bytes(settings)
        self._settings = settings
        # One batch at a time: two batches in turns would both be ready only when the last one is,
        # and the first request would leave twice as late.
        self._lock = anyio.Lock(fast_acquire=True)

    async def encode(
        self, batch: Sequence[Conversion], outcomes: _Outcomes, weaknesses: Counter[str]
    ) -> list[Chunk]:
        """Return the events of *batch*; reject in *outcomes* those that cannot be sent.

        Other tasks get their turn after every `EVENTS_PER_TURN` events.

        Args:
            batch: the conversions.
            outcomes: one per conversion; the outcomes of rejected conversions are added here.
            weaknesses: the weaknesses of rejected conversions are added here; the weaknesses of all
                others are in the chunks.
        """
        chunks: list[Chunk] = []
        async with self._lock:
            now = steady_time()
            for start in range(0, len(batch), SLICE):
                if start and start % EVENTS_PER_TURN == 0:
                    await checkpoint()
                conversions = batch[start : start + SLICE]
                indexes = range(start, start + len(conversions))
                events, mapping_weaknesses = self._map(conversions, indexes, now, outcomes)
                refused = self._refuse(events, now, outcomes)
                if refused and mapping_weaknesses:
                    weaknesses.update(_customer_weaknesses(refused, mapping_weaknesses))
                if events:
                    chunks += self._encode(
                        events, count_weaknesses(events.values(), mapping_weaknesses), outcomes
                    )
        return chunks

    def _map(
        self,
        conversions: Sequence[Conversion],
        indexes: Sequence[int],
        now: float,
        outcomes: _Outcomes,
    ) -> tuple[_Events, Weaknesses]:
        weaknesses: Weaknesses = []
        try:
            mapped = to_events(conversions, self._settings, now=now, weaknesses=weaknesses)
            return dict(zip(indexes, mapped, strict=True)), weaknesses
        except Exception as exc:  # from the caller's `MetaSettings.event_name` or `event_id`
            if len(conversions) == 1:
                outcomes[indexes[0]] = _unmappable(exc)
                return {}, []
        # One conversion of the slice is to blame: map them one at a time to find it.
        events: _Events = {}
        weaknesses = []
        for index, conversion in zip(indexes, conversions, strict=True):
            event, event_weaknesses = self._map((conversion,), (index,), now, outcomes)
            events |= event
            weaknesses += event_weaknesses
        return events, weaknesses

    def _refuse(self, events: _Events, now: float, outcomes: _Outcomes) -> list[dict[str, Any]]:
        """Take those that Meta would refuse out of *events*, and return them."""
        refused = []
        for index, refusal in find_refusals(events, now).items():
            outcomes[index] = Outcome.rejected(refusal.reason, code=refusal.code)
            refused.append(events.pop(index))
        return refused

    def _encode(
        self, events: _Events, weaknesses: Mapping[str, int], outcomes: _Outcomes
    ) -> list[Chunk]:
        with suppress(TypeError):  # one event cannot be encoded; the others must still go out
            chunk = Chunk.of(events, weaknesses)
            if len(chunk.encoded) <= self.max_event_bytes:
                return [chunk]
        return list(self._encode_one_at_a_time(events, weaknesses, outcomes))

    def _encode_one_at_a_time(
        self, events: _Events, weaknesses: Mapping[str, int], outcomes: _Outcomes
    ) -> Iterator[Chunk]:
        for index, event in events.items():
            try:
                yield Chunk.of({index: event}, weaknesses)
                weaknesses = {}  # counted with the first chunk
            except TypeError as exc:
                outcomes[index] = _unmappable(exc)


def _unmappable(exc: Exception) -> Outcome:
    # Without the exception's text, which may quote a customer.
    return Outcome.rejected(
        f"could not be turned into a Meta event: {type(exc).__name__}; check its custom_data, "
        "MetaSettings.event_name and MetaSettings.event_id"
    )
