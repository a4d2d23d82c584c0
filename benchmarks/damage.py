"""Damage every stored file in every way, and check that the program says so.

    python benchmarks/damage.py bytes [--most 16384] [--seed 0] [--only PART]
    python benchmarks/damage.py commands [--cases 300] [--seed 0] [--only PART]
    python benchmarks/damage.py commands --case KIND:SEED:FILE

`bytes` changes every byte of every file of at most `--most` bytes, and as many of a larger one, and
calls every function that reads the file. `commands` also nests values deeply, enlarges files,
replaces them by pipes, devices, folders and links, removes them, and runs list, attach, resume,
--export, compare and delete. A command may take five seconds of work or of waiting longer than on
undamaged files, and 100 MiB more. With `--recording DIR` the sweeps are kept in DIR and used again,
so that a case can be repeated exactly.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.functional.damage.by_command import CommandCampaign
from tests.functional.damage.cases import parse, sampled
from tests.functional.damage.in_process import judged
from tests.functional.damage.recording import Places, record

HANG_SECONDS = 120.0
MOST_SLOWER_SECONDS = 5.0
TERMINAL_EVERY = 12
SHOWN_OF_EACH = 3
Row = tuple[str, str, str, str]
"""Kind of damage, what read the file, the outcome (one of few), and what is wrong (or empty)."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=("bytes", "commands"))
    parser.add_argument("--most", type=int, default=1 << 14)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--skip", type=int, default=0, help="cases to leave out at the start")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a part of the path of the files to damage")
    parser.add_argument("--case", action="append", default=[], metavar="KIND:SEED:FILE")
    parser.add_argument("--recording", type=Path, metavar="DIR")
    words = parser.parse_args()
    counts: Counter[tuple[str, str, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="batchscope-damage-") as name:
        recorded = words.recording or Path(name) / "recorded"
        if not recorded.exists():
            recorded.mkdir()
            record(recorded)
        for kind, reader, outcome, wrong in _rows(words, recorded, Path(name) / "copy"):
            counts[kind, reader, outcome] += 1
            if wrong and counts[kind, reader, outcome] <= SHOWN_OF_EACH:
                print(f"{reader}: {wrong}", flush=True)
    for (kind, reader, outcome), count in sorted(counts.items()):
        print(f"{count:>8,}  {kind:<8}  {reader:<28}  {outcome}")
    return 1 if any(outcome == "WRONG" for _, _, outcome in counts) else 0


def _rows(words: argparse.Namespace, recorded: Path, copy: Path) -> Iterator[Row]:
    return _bytes(words, recorded, copy) if words.what == "bytes" else _commands(words, recorded)


def _bytes(words: argparse.Namespace, recorded: Path, copy: Path) -> Iterator[Row]:
    shutil.copytree(recorded, copy)
    os.environ["BATCHSCOPE_CONFIG"] = str(Places(copy).settings)
    for each in judged(Places(copy), words.seed, words.most, words.only):
        wrong = f"{each.case}: {each.outcome}" if each.wrong else ""
        outcome = "WRONG" if each.wrong else each.outcome
        yield each.case.kind.split()[0], each.reader, outcome, wrong


def _commands(words: argparse.Namespace, recorded: Path) -> Iterator[Row]:
    cases = list(map(parse, words.case)) or sampled(recorded, words.cases, words.seed)
    cases = [case for case in cases if words.only in case.file]
    with CommandCampaign(Places(recorded), HANG_SECONDS, MOST_SLOWER_SECONDS) as campaign:
        for number, case in enumerate(cases):
            if number < words.skip:
                continue
            print(f"{number}: {case}", flush=True)
            for verdict in campaign.judge(case, terminal=number % TERMINAL_EVERY == 0):
                wrong = f"{case}: {'; '.join(verdict.faults)}" if verdict.faults else ""
                outcome = "WRONG" if wrong else f"exit code {verdict.got.code}"
                yield case.kind, verdict.call.name, outcome, wrong


if __name__ == "__main__":
    sys.exit(main())
