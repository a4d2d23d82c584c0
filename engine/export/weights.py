"""Copies the final weights of the trials into an export, as `--weights` asks."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from batchscope.engine.checkpoints import kept_weights
from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.spec import Configuration
from batchscope.engine.sweeps.store import Launch

FOLDER = "weights"
KEY = "run.keep_weights"
NAMED = 8
ENDED_WITHOUT = ("diverged", "failed", "skipped")


class WeightsFile(Struct, frozen=True):
    """A file of weights in an export: its path there, its bytes, and its SHA-256 (hex)."""

    trial: str
    file: str
    bytes: int
    sha256: str


class WithoutWeights(Struct, frozen=True):
    """A trial that has no weights in an export, and why."""

    trial: str
    reason: str


class CopiedWeights(Struct, frozen=True):
    """The keys of `manifest.json` about weights."""

    weights: tuple[WeightsFile, ...] = ()
    without_weights: tuple[WithoutWeights, ...] = ()


def keeps_weights(configurations: Iterable[Configuration]) -> bool:
    """Return whether a sweep keeps the weights of any of its configurations."""
    return any(each.settings.run.keep_weights for each in configurations)


def check_preset(name: str, configurations: Iterable[Configuration]) -> None:
    """Raise `UsageProblem` if a preset that is about to run would keep no weights."""
    if not keeps_weights(configurations):
        raise UsageProblem(
            f"--weights: {printable(name)} keeps no weights, because {KEY} is false; "
            f"add `--set {KEY}=true`"
        )


def check_stored(
    folder: Path,
    state: SweepState,
    launch: Launch,
    written: str,
    options: Sequence[str],
    overwrite: bool = False,
) -> None:
    """Raise `UsageProblem` if a stored sweep kept no weights, with the commands that train them.

    Args:
        folder: the sweep's folder.
        state: its state.
        launch: how it was launched.
        written: the folder of the export, as the user wrote it.
        options: other options that both commands need, such as --home.
        overwrite: whether the export may replace what the folder holds.
    """
    if state.opened is None or keeps_weights(state.configurations.values()):
        return
    replacing = ["--overwrite"] if overwrite else []
    export = ["--export", written, "--sweep", folder.name, *replacing, *options]
    preset = str(Path(written) / "sweep.toml")
    where = ["--device", launch.device] if launch.device != "auto" else []
    where += ["--data-dir", launch.data_dir] if launch.data_dir else []
    train = ["--preset", preset if "/" in preset else f"./{preset}", "--set", f"{KEY}=true"]
    train += ["--export", f"{written.rstrip('/')}-with-weights", "--weights", *where, *options]
    raise UsageProblem(
        f"--weights: {folder.name} kept no weights, because {KEY} was false when it was launched; "
        "to train them again with the same plan: "
        f"`{_command(export)} && {_command(train)}`"
    )


def copy_weights(folder: Path, fresh: Path, state: SweepState) -> CopiedWeights:
    """Copy the weights of every trial that has some to `weights/` in a new export.

    A file that was changed or lost is left out, and named.

    Raises:
        OSError: the export cannot be written.
    """
    (fresh / FOLDER).mkdir()
    copied, without = list[WeightsFile](), list[WithoutWeights]()
    for trial in state.trials.values():
        reason = _missing(trial)
        if not reason and trial.weights:
            source, digest = kept_weights.file_of(folder, trial.id), trial.weights.digest
            name = f"{FOLDER}/{source.parent.name}{kept_weights.SUFFIX}"
            try:
                stated = trial.weights.bytes or None
                size = kept_weights.copy(source, fresh / name, digest, stated)
                copied.append(WeightsFile(trial.id, name, size, digest))
            except kept_weights.Changed as problem:
                reason = f"the stored file cannot be used: {problem}"
        if reason:
            without.append(WithoutWeights(trial.id, reason))
    return CopiedWeights(tuple(copied), tuple(without))


def without_weights(manifest: dict[str, Any]) -> str:
    """Return a line that names the trials without weights; empty if there are none.

    Args:
        manifest: the content of `manifest.json`.
    """
    of = msgspec.convert(manifest.get("without_weights", []), list[WithoutWeights])
    if not of:
        return ""
    named = ", ".join(f"{each.trial} ({each.reason})" for each in of[:NAMED])
    more = f" and {len(of) - NAMED:,} more (see manifest.json)" if len(of) > NAMED else ""
    count = "1 trial" if len(of) == 1 else f"{len(of):,} trials"
    return f"no weights of {count}: {named}{more}"


def _missing(trial: TrialState) -> str:
    """Return why a trial has no weights; empty if it has some."""
    if not trial.settings.run.keep_weights:
        return f"{KEY} is false"
    if trial.status in ENDED_WITHOUT:
        return trial.status
    if trial.status != "finished":
        return "not finished"
    if trial.weights is None:
        return "none are stored"
    return f"could not be kept: {trial.weights.reason}" if trial.weights.reason else ""


def _command(words: Sequence[str]) -> str:
    return printable(shlex.join(["batchscope", *words]))
