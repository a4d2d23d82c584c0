"""Through what curves are looked at: which figure, over what, on which axes, with what beside."""

from dataclasses import dataclass, replace

from batchscope.tui.viewmodel.quantities import (
    ACCURACY,
    AXLES,
    DISTANCE,
    ERROR,
    QUANTITIES,
    Quantity,
    XQuantity,
)

LINEAR, LOG_X, LOG_Y = range(3)
SCALES = 3
STRENGTHS = (0.0, 0.6, 0.9, 0.98)


@dataclass(frozen=True, slots=True)
class Lens:
    """What keys change; `chosen`, `over` and `smoothing` count figures, axes and strengths.

    Zoomed in, the x axis is halved `zoom` times, around `middle`, or up to the newest without it.
    `rivals` draws the candidates that were not chosen, too.
    """

    chosen: int = 0
    over: int = 0
    scale: int = LINEAR
    train: bool = True
    spread: bool = True
    smoothing: int = 0
    zoom: int = 0
    middle: float | None = None
    cursor: float | None = None
    rivals: bool = False

    @property
    def heading(self) -> str:
        """The figure."""
        return QUANTITIES[self.chosen].name

    @property
    def tab(self) -> str:
        """The figure in a word."""
        return QUANTITIES[self.chosen].tab

    @property
    def quantity(self) -> Quantity:
        """What is drawn: on a log axis, mistakes tell more than accuracy."""
        chosen = QUANTITIES[self.chosen]
        return ERROR if chosen is ACCURACY and self.scale == LOG_Y else chosen

    @property
    def axle(self) -> XQuantity:
        """What lies along the x axis."""
        return AXLES[self.over]

    @property
    def log_x(self) -> bool:
        """Whether x goes by its logarithm."""
        return self.scale == LOG_X

    @property
    def log_y(self) -> bool:
        """Whether y goes by its logarithm."""
        return self.scale == LOG_Y

    @property
    def fitted(self) -> bool:
        """Whether distance is held against the logarithm of the steps."""
        return self.quantity is DISTANCE and self.axle.along == "steps" and self.log_x

    @property
    def twins(self) -> bool:
        """Whether train curves are drawn."""
        return self.train and self.quantity.train is not None

    @property
    def strength(self) -> float:
        """How strongly curves are smoothed; 0 is as measured."""
        return STRENGTHS[self.smoothing]

    def other_figure(self, step: int) -> "Lens":
        """The next figure, or the one before."""
        return replace(self, chosen=(self.chosen + step) % len(QUANTITIES))

    def other_axle(self, step: int) -> "Lens":
        """Over something else: a place on the old x axis means nothing there."""
        over = (self.over + step) % len(AXLES)
        return replace(self, over=over, zoom=0, middle=None, cursor=None)

    def other_scale(self, step: int) -> "Lens":
        """Linear, x log, y log."""
        return replace(self, scale=(self.scale + step) % SCALES)

    def smoother(self, step: int) -> "Lens":
        """Smoothed more strongly, and at last not at all."""
        return replace(self, smoothing=(self.smoothing + step) % len(STRENGTHS))

    def zoomed(self, zoom: int) -> "Lens":
        """Further in or out, around the cursor where it stands."""
        if zoom <= 0:
            return replace(self, zoom=0, middle=None)
        middle = self.middle if self.cursor is None else self.cursor
        return replace(self, zoom=zoom, middle=middle)

    def beside(self, spread: bool) -> "Lens | None":
        """Train and spread, either or neither beside the test curves; None where there is nothing.

        `spread` says whether any curve has a spread to draw.
        """
        able = (self.quantity.train is not None, spread)
        if not any(able):
            return None
        train, shown = self.train, self.spread
        if all(able):
            train, shown = (not train, shown) if train == shown else (train, not shown)
        elif able[0]:
            train = not train
        else:
            shown = not shown
        return replace(self, train=train, spread=shown)
