"""Takes every kind of process away, or what it needs, and checks that nothing is lost.

    python -m tests.functional.process_campaign [--minutes 30] [--faults N] [--seed N] [--only P]

Each round runs a cut-down preset in a fresh home, with a viewer in a terminal: launched cold or by
a conductor on standby, exported with its report, and examined by `doctor`. At random moments a
viewer, conductor, worker, rank, preparer, report process, probe of torch or standby is killed,
frozen, or for a while deprived of memory, open files, processes or `/dev/shm`. The sweep is resumed
whenever its conductor is gone. Then its tables must be those of a run without faults.

As root it mounts a small `/dev/shm` of its own, and goes on as another user, since root has no
limit of processes.
"""

import argparse
import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.functional import starvation
from tests.functional.campaign_presets import PRESETS, is_alone
from tests.functional.campaign_processes import MARK
from tests.functional.campaign_round import Failure, Round, Tally

ANOTHER_USER = 61_000
MOST_FAILURES = 10


def campaign(words: argparse.Namespace, root: Path) -> int:
    """Run rounds until the time or the number of faults is reached; return the exit code."""
    began, tally, failures = time.monotonic(), Tally(), list[str]()
    names, cores = words.only or PRESETS, os.sched_getaffinity(0)
    for number in itertools.count(words.seed):
        chance = random.Random(number)
        name = names[number % len(names)]
        # threads that wait for each other take minutes a step on a busy machine
        os.sched_setaffinity(0, sorted(cores)[:1] if is_alone(name) else cores)
        mark = f"{os.getpid()}-{number}"
        os.environ[MARK] = mark
        print(f"round {number}: {name}", flush=True)
        place = root / f"round-{number}"
        place.mkdir()
        each = None
        try:
            each = Round(place, name, words.each, chance, mark, tally)
            each.run()
        except Exception as error:
            failures.append(f"round {number}, {name}: {type(error).__name__}: {error}")
            print(f"  FAILED {failures[-1]}", flush=True)
            if not isinstance(error, Failure):
                traceback.print_exc()
        finally:
            if each is not None:
                each.close()
        if len(failures) > MOST_FAILURES:
            break
        passed = time.monotonic() - began
        print(f"  {passed:.0f} s, {tally.faults.total()} faults", flush=True)
        if passed > 60 * words.minutes or tally.faults.total() >= words.faults:
            break
    print("\n".join([*tally.lines(), *(f"ended early: {e}" for e in tally.ended_early.items())]))
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


def _elsewhere() -> None:
    """Go on in this program with a small `/dev/shm`, and as another user; return if not root."""
    if os.geteuid() != 0 or os.environ.get("BATCHSCOPE_CAMPAIGN_SHM"):
        return
    us = [sys.executable, "-m", "tests.functional.process_campaign", *sys.argv[1:]]
    user = ["setpriv", f"--reuid={ANOTHER_USER}", f"--regid={ANOTHER_USER}", "--clear-groups"]
    # where the interpreter lies in root's own folder, the user may pass through that
    passing = [*user, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    for prefix in (user, passing):
        with contextlib.suppress(OSError):
            again = f"import subprocess, sys; subprocess.run([{sys.executable!r}, '-c', ''])"
            probing = [*prefix, sys.executable, "-c", again]
            if subprocess.run(probing, capture_output=True, check=False).returncode == 0:
                us = [*prefix, *us]
                break
    size = starvation.SMALL_SHM_BYTES
    mount = f'mount -t tmpfs -o size={size},mode=1777 tmpfs /dev/shm && exec "$@"'
    alone = ["unshare", "-m", "sh", "-c", mount, "sh"]
    os.environ["BATCHSCOPE_CAMPAIGN_SHM"] = "1"
    with contextlib.suppress(OSError):
        if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0:
            us = [*alone, *us]
        os.execvp(us[0], us)


def main() -> int:
    """Run the campaign of the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--faults", type=int, default=1_000_000)
    parser.add_argument("--each", type=int, default=3, help="faults of a sweep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=PRESETS, help="a preset")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the rounds")
    words = parser.parse_args()
    _elsewhere()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the round is closed
    os.environ.pop("BATCHSCOPE_HOME", None)  # each round has a home of its own
    root = Path(tempfile.mkdtemp(prefix="batchscope-processes-"))
    try:
        return campaign(words, root)
    finally:
        if words.keep:
            print(f"kept: {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
