"""``python -m anytrack_async.cli``: the command `anytrack`."""

from anytrack_async.cli import main

main()
