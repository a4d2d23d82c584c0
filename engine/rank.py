"""A further worker of a data-parallel trial: it computes gradients of its share of every batch.

    python -P -m batchscope.engine.rank RENDEZVOUS RANK SIZE DEVICE [apart]

It meets rank 0, an ordinary worker, and the other ranks at the rendezvous (`file://PATH` or
`tcp://HOST:PORT`). It executes the messages of rank 0, and ends with rank 0 or when its own
stdin ends. It sends no events; rank 0 does. It writes one line to stdout when it is ready to meet,
and a byte for each byte of its stdin, which shows that it is not frozen; everything else, such as
the reason for its end, goes to stderr. With `apart` each rank has a GPU of its own.
"""

import contextlib
import os
import sys
import threading
import traceback

from batchscope.engine.processes.rank_processes import ANSWER, READY


def _answer(pings: int, answers: int) -> None:
    """Answer each byte until stdin ends; end the process then."""
    try:
        while asked := os.read(pings, 1 << 12):
            os.write(answers, ANSWER * len(asked))
    finally:
        os._exit(0)


def serve(ready: int, rendezvous: str, rank: int, size: int, name: str, apart: bool) -> None:
    """Compute gradients for rank 0 until it ends.

    Args:
        ready: the descriptor to which a line is written as soon as it is ready to meet.
        rendezvous: where the ranks meet.
        rank: the number of this rank, from 1.
        size: the number of ranks.
        name: the device, such as `cuda:1`.
        apart: whether each rank has a GPU of its own.
    """
    import torch

    from batchscope.engine.training.data_parallel.exchange import Exchange, TeamLost
    from batchscope.engine.training.data_parallel.gradient_server import GradientServer
    from batchscope.engine.training.torch_device import compute_in_float32, make_current

    device = torch.device(name)
    make_current(device)
    compute_in_float32(device)
    os.write(ready, READY)
    # if another rank is lost, that rank has reported the reason
    with contextlib.suppress(TeamLost):
        exchange = Exchange(rendezvous, rank, size, device, apart)
        GradientServer(exchange, rank, size, device).serve()


def main() -> None:
    """Run a rank with the arguments of the command line."""
    answers = os.dup(1)
    os.dup2(2, 1)
    rendezvous, rank, size, device, *rest = sys.argv[1:]
    try:
        threading.Thread(target=_answer, args=(0, answers), daemon=True).start()
        serve(answers, rendezvous, int(rank), int(size), device, rest == ["apart"])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # at once, since a thread waits for the end of stdin


if __name__ == "__main__":
    main()
