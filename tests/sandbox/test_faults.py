"""The sequence of injected faults."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest

from anytrack_async.sandbox import FAULT_KINDS, Faults
from anytrack_async.sandbox.faults import FaultSequence

HALF = Faults(rate=0.5, seed=1)


def draws(faults, service="meta", times=400):
    sequence = FaultSequence(faults, service)
    return [sequence.draw() for _ in range(times)]


def test_equal_seeds_give_equal_faults():
    assert draws(HALF) == draws(HALF)


def test_different_seeds_give_different_faults():
    assert draws(HALF) != draws(attrs.evolve(HALF, seed=2))


def test_each_service_has_its_own_fault_sequence():
    assert draws(HALF, "meta") != draws(HALF, "hubspot")


def test_faults_match_the_rate_and_every_kind_occurs():
    kinds = Counter(draws(Faults(rate=0.2, seed=5), times=5_000))

    assert kinds.keys() == {None, *FAULT_KINDS}
    assert 5_000 - kinds[None] == pytest.approx(1_000, rel=0.1)


@pytest.mark.parametrize(
    "faults",
    [Faults(), Faults(rate=1, kinds=()), Faults(rate=1, services=("anytrack",))],
    ids=["no rate", "no kinds", "another service"],
)
def test_no_faults_without_rate_kinds_or_service(faults):
    assert set(draws(faults)) == {None}
