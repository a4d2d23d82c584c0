"""A person who watches a sweep in a real terminal, and whose terminal may go away."""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("batchscope"))
END_SECONDS = 60.0


class Watcher:
    """`batchscope attach` on a sweep; `look` must be called now and then, or it will stall."""

    def __init__(self, folder: Path) -> None:
        self._terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.set_blocking(self._terminal, False)
        self.drawn = 0
        home = str(folder.parent.parent)
        self._process = subprocess.Popen(
            [COMMAND, "attach", folder.name, "--home", home],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)

    def look(self) -> bool:
        """Take in what was drawn; whether the viewer still runs."""
        with contextlib.suppress(OSError):  # nothing is there to read
            while data := os.read(self._terminal, 1 << 16):
                self.drawn += len(data)
        return self._process.poll() is None

    def kill(self) -> None:
        """End the viewer without a warning."""
        self._process.send_signal(signal.SIGKILL)
        self._close()

    def hang_up(self) -> None:
        """Take the terminal away: the viewer is told by SIGHUP, and has to end by itself."""
        self._close()

    def _close(self) -> None:
        os.close(self._terminal)
        self._process.wait(END_SECONDS)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
