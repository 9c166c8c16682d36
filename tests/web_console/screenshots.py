"""Takes the pictures in ``docs/images``: ``python -m tests.web_console.screenshots``.

A demo shop sells to three services, of which HubSpot is down and Meta rejects some conversions.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import anyio

from anytrack_async.demo.sample import sample
from anytrack_async.errors import AnyTrackError
from tests.web_console.scene import Scene, running

FOLDER = Path(__file__).parents[2] / "docs" / "images"
_LINES = 900
_LARGEST = 100_000  # bytes of a picture

PICTURES = {
    "console-overview": ("./", "light", 1100, 760),
    "console-overview-dark": ("./", "dark", 1100, 700),
    "console-dead-letters": ("dead-letters", "light", 1100, 540),
    "console-conversion": ("conversion?event_id=sale:T-795513", "light", 1100, 700),
    "console-conversions": ("conversions", "light", 1100, 760),
    "console-narrow": ("./", "light", 360, 640),
    "console-settings": ("settings", "light", 1100, 500),  # the last one: a destination is paused
}
"""Name → address, colour scheme, width and height."""


async def fill(scene: Scene) -> None:
    """Track the sample while HubSpot works at first and is down later."""
    conversions = [line[1] for line in sample(_LINES) if isinstance(line, tuple)]
    half = len(conversions) // 2
    await submit(scene, conversions[:half])
    await anyio.sleep(3)
    await anyio.to_thread.run_sync(scene.sandbox.down, "hubspot")
    await submit(scene, conversions[half:])
    await anyio.sleep(3)


async def pause(scene: Scene) -> None:
    """Pause a destination, as an admin does on the page of the settings."""
    scene.client.pause("meta", reason="moving to another pixel", by="anna")
    await anyio.sleep(1)


async def submit(scene: Scene, conversions: list) -> None:
    """Submit those that can be."""
    for conversion in conversions:
        try:
            await scene.client.submit(conversion)
        except AnyTrackError:
            continue


def main() -> None:
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or sys.exit("Chromium is missing: make browser")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), admin=lambda _: "anna") as scene,
        sync_playwright() as playwright,
    ):
        scene.run(fill, scene)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (address, scheme, width, height) in PICTURES.items():
            if name == "console-settings":
                scene.run(pause, scene)
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": width, "height": height}
            )
            page = context.new_page()
            page.goto(scene.url + address)
            page.wait_for_timeout(1_500)
            path = FOLDER / f"{name}.png"
            page.screenshot(path=path)
            size = path.stat().st_size
            print(f"{path.name}: {size:,} bytes{' TOO LARGE' if size > _LARGEST else ''}")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
