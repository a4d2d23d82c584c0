"""Lists the code that may be run, and adds and removes folders of it."""

import argparse
from pathlib import Path

from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.system.files import user_path
from batchscope.tui.terminal.output import complain, say


def trust(words: argparse.Namespace) -> int:
    """Trust or revoke the folder that the options name, or list all; return the exit code."""
    from batchscope.engine.sweeps.store import home_folder
    from batchscope.engine.sweeps.trust import revoke, trusted_exports, trusted_folders
    from batchscope.engine.sweeps.trust import trust as add

    if words.revoke and words.folder is None:
        raise UsageProblem("--revoke: needs DIR, one of the folders that `batchscope trust` lists")
    home = home_folder(words.home, writes=words.folder is not None)
    if words.folder is None:
        folders, exports = trusted_folders(home), trusted_exports(home)
        for folder in folders:
            say(_line(home, folder.path))
        for each in exports:
            say(f"{printable(each.path)}  only the code of {printable(each.name)}, an export")
        if not folders and not exports:
            complain("no folder is trusted, so no preset with [task] is run")
        return 0
    named = user_path(words.folder)
    if words.revoke:
        revoke(home, named)
        say(f"{printable(named)}: no code is run from there any more")
        return 0
    say(f"{printable(add(home, named))}: presets may run code from there")
    return 0


def _line(home: Path, path: str) -> str:
    """Return a trusted folder, and why no code is run from there at present, if that is so."""
    from batchscope.engine.sweeps.trust import NotTrusted, check_trusted

    try:
        check_trusted(home, Path(path))
    except NotTrusted as problem:
        return f"{printable(path)}  not at present: {problem.why}"
    return printable(path)
