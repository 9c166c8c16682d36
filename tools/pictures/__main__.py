"""Draw the architecture, and record what the terminal shows, into ``docs/images``."""

from __future__ import annotations

from pathlib import Path

from tools.pictures import architecture, terminal

IMAGES = Path(__file__).parents[2] / "docs/images"


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / "architecture.svg").write_text(architecture.svg(), encoding="utf-8")
    for name, picture in terminal.recordings().items():
        (IMAGES / f"{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
