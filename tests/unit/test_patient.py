"""A journal on a disk that refuses for a while: nothing is lost, glued or written out of order."""

import os
import subprocess
import sys
from pathlib import Path

from engine import events as ev
from engine import journal, notice
from engine.notice import Board
from engine.patient import PatientWriter
from tui.follower import Follower

FULL = """
import resource, signal, sys
from pathlib import Path
from engine.events import MemorySampled, Note
from engine.notice import Board
from engine.patient import PatientWriter

def most(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, 100_000))

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
writer = PatientWriter(folder / "journal.jsonl", Board(folder).say, lambda: 0.0)
sample = MemorySampled(device="cpu", name="cpu", total=1, ours=0, others=0)
behind = []
for number in range(40):
    if number == 10:
        most(2000)
    if number == 30:
        print(bytes((folder / "notice.txt").read_bytes()).strip().decode())
        most(100_000)
        writer.catch_up(at_once=True)
    writer.append(Note(text=f"{number:02} " + "x" * 150))
    writer.append(sample)
    behind.append(writer.behind)
    if number in (20, 35):
        print(writer.sync())
print(behind.index(True) > 9, not behind[-1], repr((folder / "notice.txt").read_text().strip()))
"""


def test_what_a_full_disk_refuses_is_written_later_in_order(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: half a line fits, then no more."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    said = "the journal cannot be written (File too large): what happens waits in memory"
    assert done.stdout.decode().splitlines() == ["False", said, "True", "True True ''"]
    reader = journal.Reader(tmp_path / journal.NAME)
    events = reader.read_all()
    assert reader.damaged == 0
    texts = [event.text for event in events if isinstance(event, ev.Note)]
    numbers = [int(text[:2]) for text in texts if text[:2].isdigit()]
    assert numbers == list(range(40))
    (late,) = [text for text in texts if not text[:2].isdigit()]
    assert late.startswith("the disk refused for 0 s: ")
    assert late.endswith(" events were written late")
    assert 0 < sum(isinstance(event, ev.MemorySampled) for event in events) < 40


def test_a_notice_stays_in_its_room_and_cannot_steer_a_terminal(tmp_path: Path) -> None:
    assert notice.read(tmp_path) == ""
    board = Board(tmp_path)
    size = (tmp_path / notice.NAME).stat().st_size
    assert notice.read(tmp_path) == ""
    board.say("\x1b[31m" + "é" * 2000)
    assert (tmp_path / notice.NAME).stat().st_size == size
    assert notice.read(tmp_path).startswith("�[31méé")
    board.say("")
    assert notice.read(tmp_path) == ""
    Board(tmp_path / "nowhere").say("nobody reads it")


def test_the_board_says_what_the_notice_says(tmp_path: Path) -> None:
    writer = PatientWriter(tmp_path / journal.NAME, Board(tmp_path).say, lambda: 0.0)
    follower = Follower(tmp_path)
    assert follower.poll().problem == ""
    Board(tmp_path).say("the journal cannot be written")
    assert follower.poll().problem == "the journal cannot be written"
    writer.close()
