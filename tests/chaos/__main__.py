"""``python -m tests.chaos [attack …] [--seed N] [--minutes M]``: attack, and report the losses."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import anyio

from tests.chaos import ATTACKS
from tests.chaos.trial import Trial

_ATTACKING_SHARE = 0.85
"""Of the minutes; the rest is for rounds that take longer than their share."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the attacks; return 1 if anything was lost, or if the time was over before the end."""
    options = _parser().parse_args(arguments)
    names = options.attacks or [*ATTACKS]
    print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
    logging.disable()  # of faults and lost leases, which are meant here
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        is_safe = anyio.run(_attack, names, options.seed, options.minutes * 60, Path(folder))
    return int(not is_safe)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "attacks",
        nargs="*",
        metavar="attack",
        help=f"of {', '.join(ATTACKS)}; all if none",
        type=_attack_name,
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--minutes", type=float, default=10.0, help="for all attacks together")
    return parser


def _attack_name(text: str) -> str:
    if text not in ATTACKS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(ATTACKS)}")
    return text


async def _attack(names: Sequence[str], seed: int, seconds: float, folder: Path) -> bool:
    """Make the attacks, one after the other; return whether nothing was lost by any."""
    unit = seconds * _ATTACKING_SHARE / sum(ATTACKS[name].share for name in names)
    losses: list[str] = []
    with anyio.move_on_after(seconds) as limit:
        for name in names:
            folder_of_trial = folder / name
            folder_of_trial.mkdir()
            trial = Trial(name, seed, folder_of_trial, unit * ATTACKS[name].share)
            await make_attack(trial)
            losses += trial.losses
    if limit.cancelled_caught:
        print(f"not finished after {seconds:g} seconds", flush=True)
    return not limit.cancelled_caught and not losses


async def make_attack(trial: Trial) -> None:
    """Make an attack and print the result; if the attack itself fails, that counts as a loss."""
    try:
        await ATTACKS[trial.attack].make(trial)
    except Exception as exc:
        traceback.print_exc()
        trial.lose(f"the attack itself failed: {exc!r}")
    finally:
        print(trial.line(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
