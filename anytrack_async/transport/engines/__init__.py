"""What carries requests: h11, aiohttp or an httpx transport."""
