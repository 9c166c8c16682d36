"""All presets, and `recognise`, which finds the one that a file's columns belong to.

A preset is a module of this package with a `PRESET`, or several `PRESETS`, and its name in
`MODULES`. Several with the same name are the same file in several languages. A kind of file that
cannot be used has a preset with a `refusal`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module

from anytrack_async.backfilling.advice import Advice
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.descriptions import shown
from anytrack_async.errors import ConfigurationError, UnknownFormatError

MODULES = (
    *("anytrack", "shopify", "stripe", "woocommerce", "hubspot", "paypal"),
    *("google_ads", "microsoft_ads", "meta_events"),
    *("everflow", "tune", "trackier", "trackdesk", "voluum", "clickflare", "binom"),
)
"""Modules of this package, one for each system."""


@cache
def all_presets() -> tuple[FileMapping, ...]:
    """Return every preset, those with a refusal included."""
    presets: list[FileMapping] = []
    for name in MODULES:
        module = import_module(f"anytrack_async.backfilling.presets.{name}")
        presets += getattr(module, "PRESETS", None) or (module.PRESET,)
    return tuple(presets)


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that can read a file."""
    return tuple(dict.fromkeys(preset.name for preset in all_presets() if not preset.refusal))


def find_preset(name: str) -> FileMapping:
    """Return the preset *name*.

    Raises:
        ConfigurationError: there is none; the message lists them.
    """
    for preset in all_presets():
        if preset.name == name and not preset.refusal:
            return preset
    raise ConfigurationError(
        f"there is no preset {shown(name)}; presets: {', '.join(preset_names())}"
    )


def recognise(columns: Iterable[str]) -> FileMapping | None:
    """Return the preset with the longest signature among those that *columns* contain.

    The result may have a `refusal`, and those with a refusal win, because their signatures are
    those of special files. Positions and further columns do not matter.
    """
    names = tuple(columns)
    matches = [preset for preset in all_presets() if preset.matches(names)]
    return max(matches, key=_weight, default=None)


def _weight(preset: FileMapping) -> tuple[bool, int]:
    return bool(preset.refusal), len(preset.signature)


def choose(
    columns: Sequence[str],
    *,
    preset: str | None,
    mapping: FileMapping | None,
    name: str,
    advice: Advice,
) -> tuple[FileMapping, bool]:
    """Return the mapping for a file, and whether it was recognised by its columns.

    Args:
        columns: the file's header.
        preset: name of a preset, if it is stated.
        mapping: a mapping, if it is stated.
        name: the file's name, for messages.
        advice: names the settings in messages.

    Raises:
        ConfigurationError: the file is of a kind that cannot be used.
        UnknownFormatError: neither preset nor mapping is stated, and no preset fits.
    """
    recognised = None if mapping else recognise(columns)
    if recognised and recognised.refusal:
        raise ConfigurationError(f"{name} is not usable: {recognised.refusal}")
    if mapping is not None:
        return mapping, False
    if preset is not None:
        # Of a preset with variants for several languages, the file decides which.
        if recognised is not None and recognised.name == preset:
            return recognised, False
        return find_preset(preset), False
    if recognised is None:
        raise UnknownFormatError(
            f"{name}: no preset has these columns; name one with {advice.state('preset')}, or "
            "write a mapping (`anytrack backfill --inspect` proposes one)",
            columns,
        )
    return recognised, True
