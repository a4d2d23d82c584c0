"""The options of the curves pane: the metric, the axes, smoothing, zoom and cursor."""

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
    """The options that keys change.

    Args:
        offered: the metrics that the sweep has.
        chosen, over, smoothing: indices of the metric, the x axis and the strength of smoothing.
        scale: one of `LINEAR`, `LOG_X` and `LOG_Y`.
        train, spread: whether train curves, and bands of one deviation, are drawn.
        zoom: how many times the x axis is halved.
        middle: what the zoomed axis is centred on; without it the axis ends at the newest point.
        cursor: the x that is read, if any.
        rivals: whether rejected candidates are drawn too.
    """

    offered: tuple[Quantity, ...] = QUANTITIES
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
        """The name of the metric, and which direction is better."""
        return self.offered[self.chosen].heading

    @property
    def tab(self) -> str:
        """The name of the metric in a word."""
        return self.offered[self.chosen].tab

    @property
    def quantity(self) -> Quantity:
        """The metric that is drawn; on a logarithmic y axis the error instead of the accuracy."""
        chosen = self.offered[self.chosen]
        return ERROR if chosen is ACCURACY and self.scale == LOG_Y else chosen

    @property
    def axle(self) -> XQuantity:
        """The quantity on the x axis."""
        return AXLES[self.over]

    @property
    def log_x(self) -> bool:
        """Whether the x axis is logarithmic."""
        return self.scale == LOG_X

    @property
    def log_y(self) -> bool:
        """Whether the y axis is logarithmic."""
        return self.scale == LOG_Y

    @property
    def fitted(self) -> bool:
        """Whether a fitted line (distance against the logarithm of the steps) is drawn."""
        return self.quantity is DISTANCE and self.axle.along == "steps" and self.log_x

    @property
    def twins(self) -> bool:
        """Whether train curves are drawn."""
        return self.train and self.quantity.train is not None

    @property
    def strength(self) -> float:
        """How strongly curves are smoothed; 0 means not at all."""
        return STRENGTHS[self.smoothing]

    def offering(self, offered: tuple[Quantity, ...]) -> "Lens":
        """Return the options among other metrics, with the same one if it is among them.

        The first one stays the first one.
        """
        names = [each.name for each in offered]
        name = self.offered[self.chosen].name
        at = names.index(name) if self.chosen and name in names else 0
        return replace(self, offered=offered, chosen=at)

    def other_figure(self, step: int) -> "Lens":
        """Return the options with the next metric, or the one before."""
        return replace(self, chosen=(self.chosen + step) % len(self.offered))

    def other_axle(self, step: int) -> "Lens":
        """Return the options with another x axis, without zoom and cursor."""
        over = (self.over + step) % len(AXLES)
        return replace(self, over=over, zoom=0, middle=None, cursor=None)

    def other_scale(self, step: int) -> "Lens":
        """Return the options with the next scale: linear, x log, y log."""
        return replace(self, scale=(self.scale + step) % SCALES)

    def smoother(self, step: int) -> "Lens":
        """Return the options with stronger smoothing; after the strongest comes none."""
        return replace(self, smoothing=(self.smoothing + step) % len(STRENGTHS))

    def zoomed(self, zoom: int) -> "Lens":
        """Return the options zoomed in or out, around the cursor if there is one."""
        if zoom <= 0:
            return replace(self, zoom=0, middle=None)
        middle = self.middle if self.cursor is None else self.cursor
        return replace(self, zoom=zoom, middle=middle)

    def beside(self, spread: bool) -> "Lens | None":
        """Return the options with the next choice of what is drawn besides the test curves.

        Args:
            spread: whether any curve has a spread to draw.

        Returns:
            None where there is neither a train curve nor a spread.
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
