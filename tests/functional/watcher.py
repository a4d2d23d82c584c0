"""Runs a viewer of a sweep in a real terminal, which may be closed at any time."""

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
    """`batchscope attach` on a sweep; call `look` regularly, or its output blocks."""

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
        """Read the output so far; return whether the viewer still runs."""
        with contextlib.suppress(OSError):  # there is no output to read
            while data := os.read(self._terminal, 1 << 16):
                self.drawn += len(data)
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill the viewer with SIGKILL."""
        self._process.send_signal(signal.SIGKILL)
        self._close()

    def hang_up(self) -> None:
        """Close the terminal: the viewer receives SIGHUP and must exit."""
        self._close()

    def _close(self) -> None:
        os.close(self._terminal)
        self._process.wait(END_SECONDS)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
