"""Look at dead letters, correct what can be corrected, and replay the rest.

$ python dead_letters.py
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from anytrack_async import AnyTrackClient


async def main() -> None:
    """Correct the country of customers that HubSpot refused, and replay what is older."""
    async with AnyTrackClient.from_env() as client:
        corrected = replayed = 0
        async for letter in client.dead_letters():
            print(letter.event_id, letter.destination, letter.code, letter.error)
            if letter.conversion.source == "newsletter-old":
                await client.edit(letter.event_id, source="newsletter")  # sent where it was refused
                corrected += 1
        replayed = await client.replay("anytrack", older_than=timedelta(0))
        print(f"{corrected} corrected, {replayed} replayed")


if __name__ == "__main__":
    asyncio.run(main())
