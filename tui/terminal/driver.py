"""Suspends the screen with the terminal as it was, and draws it again afterwards.

Textual stops itself with SIGSTOP, which no system undoes where no shell could continue the program,
and after a SIGSTOP from outside it starts its threads twice and takes the raw mode for the one to
restore. Here SIGTSTP stops the program, as a shell's does, and any return starts afresh.
"""

import signal
import threading

from textual.drivers.linux_driver import LinuxDriver


class TerminalDriver(LinuxDriver):
    """Textual's driver for terminals, with another way to suspend and to continue."""

    _asleep = False

    def _sigtstp_application(self, *_: object) -> None:
        """Restore the terminal, stop, and draw again once the program continues."""
        if not self._auto_restart or self._asleep:
            return
        self._asleep = True
        self.suspend_application_mode()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        # to this thread, so that it stops before the call returns; ignored without a shell
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._sigtstp_application)
        self._start_again()

    def _sigcont_application(self, *_: object) -> None:
        """Start afresh after a SIGSTOP: a shell has given the terminal its own mode since."""
        if self._auto_restart and not self._asleep and self._writer_thread is not None:
            self._asleep = True
            self.suspend_application_mode()
            self._start_again()

    def _start_again(self) -> None:
        self._must_signal_resume = True
        self.resume_application_mode()
        self._asleep = False
