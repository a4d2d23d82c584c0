"""Lists the folders that code may be run from, and adds and removes them."""

import argparse

from batchscope.engine.system.files import user_path
from batchscope.tui.terminal.output import say


def trust(words: argparse.Namespace) -> int:
    """Trust or revoke the folder that the options name, or list all; return the exit code."""
    from batchscope.engine.sweeps.store import home_folder
    from batchscope.engine.sweeps.trust import revoke, trusted_folders
    from batchscope.engine.sweeps.trust import trust as add

    home = home_folder(words.home, writes=words.folder is not None)
    if words.folder is None:
        for each in trusted_folders(home):
            say(each.path)
        return 0
    folder = user_path(words.folder)
    if words.revoke:
        revoke(home, folder)
        say(f"{folder}: no code is run from there any more")
        return 0
    say(f"{add(home, folder)}: presets may run code from there")
    return 0
