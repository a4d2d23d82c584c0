"""The sentences of the log: what each event says to a person who follows the sweep."""

from collections.abc import Mapping, Sequence

from batchscope.engine.journal import events as ev
from batchscope.engine.journal.headline import headline
from batchscope.engine.journal.trial_state import TrialState
from batchscope.engine.planning.worker_count import Slots
from batchscope.engine.spec import Configuration
from batchscope.engine.task_table import TaskFacts


def opened(event: ev.SweepOpened, trials: int) -> str:
    """Return how many trials a sweep has, and how many its selection will add."""
    after = event.selection.seeds_after if event.selection else 0
    to_come = after * len({each.rivals for each in event.configurations if each.rivals})
    then = f" and {to_come} after the choice" if to_come else ""
    noun = "trial" if trials == 1 else "trials"
    return f"{trials} {noun}{then} of {event.preset}: {event.title}"


def data_ready(event: ev.DataReady) -> str:
    """Return how many samples there are."""
    what = "samples" if event.task else "images"
    return f"{event.name}: {event.train:,} training and {event.test:,} test {what}"


def accepted_code(name: str, facts: TaskFacts) -> str:
    """Return that a sweep goes on with other code than it began with."""
    return (
        f"{name}: the code was changed after this sweep began "
        f"({', '.join(facts.accepted)}), and it goes on with --accept-code; the trials "
        "that train with the new code are marked"
    )


def worker_ready(event: ev.WorkerReady) -> str:
    """Return where a worker is ready, and after how long."""
    start = f"ready on {event.device_name} after {event.seconds:.1f} s"
    return f"worker {event.worker}: {start}"


def worker_dismissed(event: ev.WorkerDismissed) -> str:
    """Return why a worker was ended."""
    return f"worker {event.worker}: ended, {event.reason or 'fewer workers are faster'}"


def chosen(label: str, seeds: int) -> str:
    """Return that a candidate was chosen and is trained again with fresh seeds."""
    return f"{label}: chosen; queued again with {seeds} fresh seed{'s' * (seeds > 1)}"


def added(configurations: Sequence[Configuration]) -> str:
    """Return which batch sizes a person added."""
    sizes = dict.fromkeys(each.settings.train.batch_size for each in configurations)
    named = ", ".join(f"{size:,}" for size in sizes)
    count = sum(len(each.seeds) for each in configurations)
    return f"added by you: {count} trial{'s' if count != 1 else ''} of batch size {named}"


def trial_started(event: ev.TrialStarted, device: str) -> str:
    """Return where a trial started, in which attempt and after which step."""
    again = f", attempt {event.attempt}" if event.attempt > 1 else ""
    if event.resumed_steps is not None:
        again += f", resumed after step {event.resumed_steps:,}"
    return f"{event.trial}: started on {device}{again}"


def measured(event: ev.MicroBatchesMeasured) -> str:
    """Return how many micro-batch sizes were measured."""
    count = len(event.shapes)
    sizes = f"{count} micro-batch size{'s' * (count != 1)}"
    tried = f"{sizes} for a batch of {event.batch_size:,}"
    return f"{event.trial}: measured {tried} in {event.seconds:.1f} s"


def paced(event: ev.Paced) -> str:
    """Return which stacks were timed."""
    *smaller, largest = [f"{stack.size:,}" for stack in event.stacks] or ["0"]
    sizes = f"{', '.join(smaller)} and {largest}" if smaller else largest
    what = f"stacks of {sizes} replicates" if sizes != "1" else "one replicate at a time"
    together = f", {Slots(event.workers, event.threads)} at once" if event.workers else ""
    text = f"timed {what} in {event.seconds:.1f} s{together}"
    return f"{event.trial}: {text}"


def cut(event: ev.MicroBatchCut) -> str:
    """Return to what the micro-batch was cut or raised, and when."""
    what = "probing" if event.probe else "evaluating" if event.evaluation else "training"
    text = f"{what} with micro-batches of {event.size:,}"
    if event.grew:
        return f"{event.trial}: from step {event.steps:,} {text} again, as planned"
    return f"{event.trial}: out of memory at step {event.steps:,}: now {text}"


def probed(event: ev.Probed) -> str:
    """Return when a trial was probed."""
    where = (
        f"{100 * event.at_share:.0f} % of its budget"
        if event.at_share < 1
        else "the end of training"
    )
    return f"{event.trial}: probed at {where}, step {event.steps:,}, in {event.seconds:.1f} s"


def sharpness(event: ev.SharpnessMeasured) -> str:
    """Return how sharp the minimum of a trial is."""
    value = "unknown" if event.sharpness is None else f"{event.sharpness:.4g} %"
    why = f" ({event.reason})" if event.reason else ""
    text = f"sharpness {value} at ε = {event.epsilon:g} in {event.seconds:.1f} s{why}"
    return f"{event.trial}: {text}"


def interpolated(event: ev.Interpolated) -> str:
    """Return whether the line between two trials was measured."""
    between = f"interpolation from {event.start} to {event.end}"
    if event.points:
        return f"{between}: {len(event.points)} points in {event.seconds:.1f} s"
    return f"{between} not measured: {event.reason}"


def trial_ended(event: ev.TrialEnded, trial: TrialState) -> str:
    """Return how a trial ended, and its last figure."""
    figure = f", {headline(trial.last, trial.settings.task).text}" if trial.last else ""
    outcome = f"{event.status}{figure}"
    if event.reason.startswith(f"{event.status} "):  # "skipped by you"
        outcome = f"{event.reason}{figure}"
    elif event.reason:
        outcome = f"{outcome}: {event.reason}"
    return f"{event.trial}: {outcome}"


def sweep_ended(event: ev.SweepEnded, others: Mapping[str, int]) -> str:
    """Return how a sweep ended; `others` counts trials that ended without being finished."""
    rest = "".join(f", {count} {how}" for how, count in others.items() if count)
    done = f"{event.finished} of {event.trials} trials finished{rest}"
    why = f": {event.reason}" if event.reason else ""
    return f"sweep {event.state}, {done}{why}"
