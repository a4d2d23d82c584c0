"""Runs the command line: `python -m batchscope` does what `batchscope` does."""

from batchscope.tui.cli.main import main

if __name__ == "__main__":
    main()
