"""Pauses the garbage collector while the app starts.

Imports create some hundred thousand objects that stay alive, and the collector would scan them
again and again: a tenth of the processor time of a start. After the start, collection resumes and
ignores these objects (`gc.freeze`), so that no key press waits for a scan of them.
"""

import gc

HELD_SECONDS = 2.0


def hold() -> None:
    """Disable garbage collection until `go_on`."""
    gc.disable()


def go_on() -> None:
    """Enable collection again, without the objects that exist now; no effect if it is enabled."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
