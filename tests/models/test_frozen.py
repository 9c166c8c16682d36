"""Models that are made in a mutable twin of their class cannot be told from others."""

from __future__ import annotations

import copy
import inspect
import pickle

import attrs
import pytest

from anytrack_async import Conversion, Customer, InvalidConversionError
from anytrack_async.models.conversion import ARGUMENTS
from anytrack_async.models.frozen import fast_init
from anytrack_async.models.outcome import Outcome, delivered_as

MODELS = [Conversion.sale(order_id="1001", revenue=9), Customer(email="ada@example.com")]


@fast_init
@attrs.frozen(kw_only=True)
class Point:
    """A model without a base class."""

    x: int = attrs.field(converter=int)
    tags: list[str] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class NamedPoint(Point):
    """A subclass, for which attrs writes a constructor of its own."""

    name: str


class PlainPoint(Point):
    """A subclass that attrs does not know, with a field of its own and a hook."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.x)


@pytest.mark.parametrize("model", MODELS)
def test_a_complete_instance_has_its_own_class(model: Conversion | Customer):
    assert type(model) in (Conversion, Customer)
    assert type(attrs.evolve(model)) is type(model)
    assert attrs.evolve(model) == model


@pytest.mark.parametrize("model", MODELS)
def test_a_complete_instance_cannot_be_changed(model: Conversion | Customer):
    name = attrs.fields(type(model))[0].name

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(model, name, "x")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        delattr(model, name)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        model.unknown = 1  # type: ignore[union-attr]


@pytest.mark.parametrize("model", MODELS)
def test_copies_and_pickles_are_equal_and_of_the_same_class(model: Conversion | Customer):
    for other in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other == model
        assert type(other) is type(model)


@pytest.mark.parametrize("cls", [Conversion, Customer, Point])
def test_fields_are_set_by_assignments(cls: type):
    assert "_setattr" not in cls.__init__.__code__.co_varnames  # type: ignore[misc]
    assert "_setattr" in NamedPoint.__init__.__code__.co_varnames


def test_the_constructor_has_the_fields_as_parameters():
    assert [*inspect.signature(Conversion).parameters] == list(ARGUMENTS)


def test_converters_defaults_and_subclasses_work_as_usual():
    point, other = Point(x="3"), Point(x=3)  # type: ignore[arg-type]

    assert point == other
    assert point.tags is not other.tags
    assert repr(point) == "Point(x=3, tags=[])"
    assert NamedPoint(x=1, name="a").name == "a"
    assert type(NamedPoint(x=1, name="a")) is NamedPoint
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        NamedPoint(x=1, name="a").x = 2  # type: ignore[misc]


def test_a_subclass_may_inherit_the_constructor():
    point = PlainPoint(x=2)

    assert type(point) is PlainPoint
    assert vars(point) == {"double": 4}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        point.x = 2  # type: ignore[misc]


def test_a_constructor_that_raises_leaves_the_next_one_unharmed():
    with pytest.raises(InvalidConversionError, match="currency"):
        Conversion.sale(revenue=1, currency="euros")

    assert type(Conversion.sale(revenue=1)) is Conversion


@pytest.mark.parametrize("remote_id", ["9001", None])
def test_a_delivered_outcome_is_the_same_in_whichever_way_it_is_made(remote_id: str | None):
    outcome = delivered_as(remote_id)

    assert type(outcome) is Outcome
    assert outcome == Outcome.delivered(remote_id)
    assert attrs.asdict(outcome) == attrs.asdict(Outcome.delivered(remote_id))
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        outcome.attempts = 2  # type: ignore[misc]
