"""Ids that destinations gave, as an outbox file stores them: exact, in few bytes."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anytrack_async.codec.remote_ids import (
    pack_ids,
    unpack_ids,
)
from anytrack_async.errors import DecodeError

UUID_TEXT = "6f1c1e0a-5b1e-4b58-8f3a-0c9d2e7b4a11"

printable = st.text(min_size=1, max_size=40).filter(str.isprintable)
remote_ids = st.one_of(st.none(), st.uuids().map(str), printable)


@given(st.lists(st.tuples(st.integers(1, 3), remote_ids), min_size=1, max_size=80))
@example([(1, UUID_TEXT), (1, f"{UUID_TEXT},{UUID_TEXT}"), (1, UUID_TEXT.upper())])
@example([(1, f"{UUID_TEXT},"), (1, UUID_TEXT[1:])])
def test_each_id_is_found_at_its_position(steps: list[tuple[int, str | None]]):
    seqs = [sum(step for step, _ in steps[: index + 1]) for index in range(len(steps))]
    ids = [remote_id for _, remote_id in steps]
    packs = pack_ids(seqs, ids)

    read = {}
    for last, first, packed in packs:
        read.update(zip(range(first, last + 1), unpack_ids(packed), strict=True))
    assert read == {seq: remote_id for seq, remote_id in zip(seqs, ids, strict=True) if remote_id}


def test_a_uuid_takes_16_bytes_and_similar_ids_little_more():
    uuids = [str(UUID(int=number << 90)) for number in range(1, 321)]
    assert sum(len(pack.packed) for pack in pack_ids(range(320), uuids)) == 320 * 16 + 10
    digits = [f"{number * 7919:024x}" for number in range(320)]
    assert sum(len(pack.packed) for pack in pack_ids(range(320), digits)) < 320 * 16


@pytest.mark.parametrize("packed", [b"", b"x1", b"z1", b"t\xff", b"z"])
def test_damaged_ids_are_a_decode_error(packed: bytes):
    with pytest.raises(DecodeError):
        unpack_ids(packed)
