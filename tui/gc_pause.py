"""The collector of garbage, held while the screen starts.

Loading makes some hundred thousand objects that stay, and the collector looks at all of them time
and again: a tenth of the processor time of a start. Once the screen is there it goes on, and what
was loaded is set aside, so that no key has to wait for a look at it either.
"""

import gc

HELD_SECONDS = 2.0


def hold() -> None:
    """Collect nothing until `go_on`."""
    gc.disable()


def go_on() -> None:
    """Collect again, but for what there is already; nothing where nothing was held."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
