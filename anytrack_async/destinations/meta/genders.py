"""Words that tell a gender, and the letter that Meta wants for each."""

from __future__ import annotations

from typing import Final

_MALE_WORDS = """
m male man mr mister sir gentleman lord he him his himself boy lad guy fellow chap bloke dude son
father dad daddy papa brother uncle nephew husband boyfriend groom widower king prince duke count
emperor god
"""
_FEMALE_WORDS = """
f female woman mrs ms miss madam ma'am lady dame she her hers herself girl lass gal maiden daughter
mother mom mommy mama sister aunt niece wife girlfriend bride widow queen princess duchess countess
empress goddess belle chick
"""
INITIAL: Final = {
    **dict.fromkeys(_MALE_WORDS.split(), "m"),
    **dict.fromkeys(_FEMALE_WORDS.split(), "f"),
}
