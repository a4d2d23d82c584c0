"""Break sweeps at random moments, hundreds of times, and check that no result is lost.

    python benchmarks/crashes.py [--faults 200] [--each 12] [--epochs 150] [--seed 0] [--damage]

Each sweep is broken `--each` times: worker, conductor, viewer or all are killed; a worker or the
conductor is frozen; the viewer's terminal is taken away; the end of the journal is cut off; the
disk is filled, if a small disk can be mounted. With `--damage`, checkpoints are cut or changed too.
Each sweep is resumed until it has finished, and its tables are compared with those of the same
sweep without faults. Everything but times, memory and attempts must be equal.
"""

import argparse
import itertools
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.functional.crash_campaign import campaigns, undisturbed
from tests.functional.disks import small_disk

DISK_BYTES = 256 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--each", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=2, help="trials of each configuration")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--damage", action="store_true")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the disk is unmounted
    faults: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="batchscope-crashes-") as name,
        small_disk(Path(name) / "broken", DISK_BYTES) as full,
    ):
        root = Path(name)
        reference = undisturbed(root, words.epochs, words.repeats)
        print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)
        seeds = itertools.count(words.seed)
        for tally in campaigns(root, reference, seeds, words.each, words.damage, full):
            faults += tally.faults
            sums["sweeps"] += 1
            for key in ("same", "resumed", "begun_again", "lost_epochs", "run_twice"):
                sums[key] += int(getattr(tally, key))
            passed = time.monotonic() - began
            print(f"{passed:6.0f} s  {faults.total()} faults  {dict(sums)}", flush=True)
            if faults.total() >= words.faults:
                break
    print(f"faults: {dict(faults)}")
    lost = sums["run_twice"] or (sums["lost_epochs"] and not words.damage)
    return 1 if lost or sums["same"] < sums["sweeps"] else 0


if __name__ == "__main__":
    sys.exit(main())
