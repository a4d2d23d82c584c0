"""One of the other workers of a trial: takes gradients of its share of every batch.

    python -P -m batchscope.engine.rank RENDEZVOUS RANK SIZE DEVICE [apart]

It meets rank 0, an ordinary worker, and the others at the rendezvous (`file://PATH` or
`tcp://HOST:PORT`), does what rank 0 says, and ends with it or with its own stdin. It states
nothing: what is to be known of the trial, rank 0 knows. What it prints goes to stderr, where it
says why it ended; on stdout is one line, once it is ready to meet. With `apart` every rank has a
GPU of its own.
"""

import contextlib
import os
import sys
import threading
import traceback

from batchscope.engine.processes.rank_processes import READY


def _end_with_stdin() -> None:
    while os.read(0, 1 << 12):
        pass
    os._exit(0)


def serve(rendezvous: str, rank: int, size: int, name: str, apart: bool) -> None:
    """Serve gradients until rank 0 has had enough of them."""
    ready = os.dup(1)
    os.dup2(2, 1)
    import torch

    from batchscope.engine.training.data_parallel.exchange import Exchange, TeamLost
    from batchscope.engine.training.data_parallel.gradient_server import GradientServer
    from batchscope.engine.training.torch_device import compute_in_float32, make_current

    device = torch.device(name)
    make_current(device)
    compute_in_float32(device)
    os.write(ready, READY)
    os.close(ready)
    # that the others are gone is no news: whoever went first has said why
    with contextlib.suppress(TeamLost):
        exchange = Exchange(rendezvous, rank, size, device, apart)
        GradientServer(exchange, rank, size, device).serve()


def main() -> None:
    """Serve as the arguments say."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    rendezvous, rank, size, device, *rest = sys.argv[1:]
    try:
        serve(rendezvous, int(rank), int(size), device, rest == ["apart"])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # at once: a thread waits for the end of stdin


if __name__ == "__main__":
    main()
