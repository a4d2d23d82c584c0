"""Where a sweep keeps the checkpoints of its trials, as its launch says."""

import asyncio
import contextlib
from pathlib import Path

from engine.cluster.stores import Store, is_url, of_sweep, open_store
from engine.ledger import Ledger


def ledger_of(folder: Path, where: str) -> Ledger:
    """The ledger of a sweep whose checkpoints lie with it, or `where` every node of a cluster can
    reach them: in a folder, or at a URL, where what is not needed any more is removed meanwhile.
    """
    there = of_sweep(where, folder.name)
    if not where:
        return Ledger(folder)
    if not is_url(where):
        return Ledger(folder, Path(there))
    store = open_store(there)
    assert store is not None

    def cleared(below: str) -> None:
        with contextlib.suppress(RuntimeError):  # nobody conducts: the next conductor clears away
            asyncio.get_running_loop().run_in_executor(None, _remove, store, below)

    return Ledger(folder, cleared=cleared)


def _remove(store: Store, below: str) -> None:
    with contextlib.suppress(OSError):  # what stays there costs room and nothing else
        store.remove(below)
