"""``python -m anytrack_async`` is the command `anytrack`."""

from anytrack_async.cli.__main__ import main

if __name__ == "__main__":
    main()
