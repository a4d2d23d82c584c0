"""Where a sweep keeps the checkpoints of its trials, as its launch says."""

import asyncio
import contextlib
from asyncio import Future
from pathlib import Path

from engine.cluster.stores import Store, is_url, open_store
from engine.ledger import Ledger
from engine.problems import MachineProblem, printable


def ledger_of(folder: Path, where: str) -> Ledger:
    """The ledger of a sweep whose checkpoints lie with it, or `where` every node of a cluster can
    reach them: in a folder, or at a URL, where what is not needed any more is removed meanwhile.

    Raises:
        MachineProblem: the place cannot be written to.
    """
    if not where:
        return Ledger(folder)
    store = open_store(where)
    try:
        store.mark()
    except Exception as error:  # each store has errors of its own
        raise MachineProblem(f"--checkpoints {printable(where)}: {printable(error)}") from None
    if not is_url(where):
        return Ledger(folder, Path(where))

    def cleared(below: str) -> Future[None]:
        return asyncio.get_running_loop().run_in_executor(None, _remove, store, below)

    return Ledger(folder, cleared=cleared)


def _remove(store: Store, below: str) -> None:
    with contextlib.suppress(Exception):  # what stays there costs room and nothing else
        store.remove(below)
