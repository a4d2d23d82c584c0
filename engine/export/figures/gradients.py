"""Draws the gradient norms and the gradient noise scale of each batch size."""

import math
from collections.abc import Iterator

from batchscope.engine.analysis.figures import norms
from batchscope.engine.analysis.layer_shares import layer_means
from batchscope.engine.export.figures.common import Cast, Picture, along, dots, foremost
from batchscope.engine.export.plot_style import FAINT, legend, log_axis, new
from batchscope.engine.findings.configuration_summary import Mean
from batchscope.engine.metrics.layer_labels import short_names
from batchscope.engine.metrics.norm_histogram import EDGES

MOST = 8
"""The most histograms in one figure: more would hide each other."""
LABELLED = 12
"""The most layers whose names fit below the axis."""
LABELS_BESIDE, LONGEST_LAYER = 110, 24
"""How many letters of names fit beside each other below the axis, and those of one name."""


def pictures(cast: Cast) -> Iterator[Picture]:
    """Yield the histograms of norms if there are steps, and the noise scales if measured."""
    drawn = _histograms(cast)
    if drawn:
        yield drawn
    layers = _layers(cast)
    if layers:
        yield layers
    noise = _noise(cast)
    if noise:
        yield noise


def _histograms(cast: Cast) -> Picture | None:
    names = foremost(cast.names, cast.tiers, MOST)
    pools = {name: norms(cast.state, name) for name in names}
    known = {name: pool for name, pool in pools.items() if pool.count}
    if not known:
        return None
    title = "Gradient norms"
    figure, axes = new(title, "L2 norm of the gradient", "share of the steps, %")
    handles = []
    for name, pool in known.items():
        first, last = min(pool.bins), max(pool.bins)
        inside = [index for index in range(first, last + 1) if 0 < index < len(EDGES) - 2]
        shares = [100.0 * pool.bins.get(index, 0) / pool.count for index in inside]
        if not inside:
            continue
        edges = [EDGES[index] for index in (*inside, inside[-1] + 1)]
        style = cast.look(name)
        axes.stairs(shares, edges, color=style.colour, fill=True, alpha=0.08, lw=0)
        handles.append(axes.stairs(shares, edges, color=style.colour, ls=style.line, lw=1.3))
    log_axis(axes.xaxis)
    axes.set_ylim(bottom=0)
    legend(figure, handles, [cast.label(name) for name in known])
    rest = len(cast.names) - len(names) + cast.left_out
    caption = (
        "Distribution of the L2 norms of the gradients of all steps, all seeds together; twenty "
        "bins a decade. Each histogram adds up to 100 %."
        + (f" {rest} more configuration{'s' * (rest > 1)} not drawn." if rest else "")
    )
    return Picture("gradient_norms", title, caption, figure)


def _layers(cast: Cast) -> Picture | None:
    """Draw each layer's share of the squared norm, for configurations with equal layers."""
    known = {name: layer_means(cast.state, name) for name in cast.names}
    names = {name: [each.layer for each in layers] for name, layers in known.items() if layers}
    if not names:
        return None
    layers = max(names.values(), key=lambda each: sum(each == other for other in names.values()))
    same = [name for name, own in names.items() if own == layers]
    chosen = foremost(same, cast.tiers, MOST)
    title = "Gradient norm by layer"
    figure, axes = new(title, "layer", "share of the squared norm, %")
    handles = []
    for name in chosen:
        style = cast.look(name)
        shares = [math.nan if one.share is None else 100 * one.share for one in known[name]]
        handles += axes.plot(
            range(len(layers)), shares, color=style.colour, ls=style.line, marker=style.marker
        )
    apart = -(-len(layers) // LABELLED)
    labels = [*short_names(layers, LONGEST_LAYER).values()]
    tight = apart > 1 or sum(len(label) + 2 for label in labels) > LABELS_BESIDE
    axes.set_xticks(range(0, len(layers), apart), labels[::apart], rotation=90 * tight)
    axes.set_ylim(bottom=0)
    legend(figure, handles, [cast.label(name) for name in chosen])
    rest = len(cast.names) - len(chosen) + cast.left_out
    caption = (
        "Mean squared norm of the gradient of each layer ÷ that of the whole gradient, over the "
        "whole training; means over the seeds. Layers are in the order of the forward pass, and "
        "their shares add up to 100 %; layer_norms.csv has them for each epoch."
        + (f" {rest} more configuration{'s' * (rest > 1)} not drawn." if rest else "")
    )
    return Picture("layer_norms", title, caption, figure)


def _noise(cast: Cast) -> Picture | None:
    scales = {
        each.configuration: Mean(each.value, each.low, each.high, each.n)
        for each in cast.findings.noise_scale
        if each.configuration in cast.names and each.value is not None and each.value > 0
    }
    if len(scales) < 2:
        return None
    title = "Gradient noise scale"
    figure, axes = new(title, "batch size", "samples")
    axes.set_yscale("log")
    handles = dots(axes, cast, {name: _positive(mean) for name, mean in scales.items()})
    along(axes, cast, scales)
    ends = axes.get_xlim()
    axes.plot(ends, ends, color=FAINT, ls=":", lw=1.2, zorder=0)
    axes.set_xlim(ends)
    axes.set_ylim(*_reach(cast, scales))
    log_axis(axes.yaxis)
    if not cast.plain_sizes:
        legend(figure, handles, [cast.label(name) for name in cast.names if name in scales])
    caption = (
        "tr(Σ)/|G|² over the whole run (McCandlish et al. 2018), as the ratio of the means "
        "over all measurements. Whiskers are Fieller's 95 % intervals over the seeds; none is "
        "drawn if an end is missing or the lower end is not above 0. On the dotted line the noise "
        "scale equals the batch size." + cast.note
    )
    return Picture("noise_scale", title, caption, figure)


def _reach(cast: Cast, scales: dict[str, Mean]) -> tuple[float, float]:
    """Return the limits of the y axis, which include all marks and the dotted line."""
    every = [float(cast.size(name)) for name in scales]
    for mean in map(_positive, scales.values()):
        every += [each for each in (mean.mean, mean.low, mean.high) if each is not None]
    room = max(1.15, (max(every) / min(every)) ** 0.06)
    return min(every) / room, max(every) * room


def _positive(mean: Mean) -> Mean:
    """Return a mean without its interval if that does not fit on a logarithmic axis."""
    kept = mean.low is not None and mean.low > 0 and mean.high is not None
    return mean if kept else Mean(mean.mean, None, None, mean.n)
