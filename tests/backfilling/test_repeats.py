"""`SeenKeys`: which keys came before, in one call or another, and whether for the same."""

from __future__ import annotations

from random import Random

from anytrack_async.backfilling.repeats import SeenKeys


def test_a_key_is_new_once_and_then_compared_with_the_first():
    keys = SeenKeys()

    assert keys.add([("a", 1), ("b", 2)]) == [None, None]
    assert keys.add([("a", 1), ("c", 3), ("b", 9), ("c", 3), ("c", 4)]) == [
        *(True, None, False),
        *(True, False),
    ]
    assert keys.add([("b", 2), ("b", 9)]) == [True, False]
    keys.close()


def test_any_calls_answer_as_a_dictionary_does():
    random, first, keys = Random(7), {}, SeenKeys()
    for _ in range(200):
        pairs = [(random.randrange(900), random.randrange(3)) for _ in range(random.randrange(9))]
        expected = []
        for key, value in pairs:
            expected.append(None if key not in first else first[key] == value)
            first.setdefault(key, value)
        assert keys.add(pairs) == expected
    keys.close()
