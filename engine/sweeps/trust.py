"""Which folders a person lets batchscope run code from: `trust.json` in the home.

A preset with `[task]` runs somebody's code. Trust is for a folder, with everything in it and what
is changed there later by its owner. It is bound to the folder's real path and its owner: a folder
that became a link, that belongs to somebody else now, or that others may write to is asked about
again. A preset that came in an export is trusted by a digest of its tables and modules alone,
wherever it lies. A preset that names a trusted folder from elsewhere chooses function and arguments
itself, so its own folder must be known, too. Nothing is imported without trust, by any way in: the
conductor checks it, and so does whatever starts one.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from batchscope.engine.errors import MachineProblem, Problem, UsageProblem, printable
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.spec import Configuration
from batchscope.engine.sweeps.launch_file import look_up
from batchscope.engine.sweeps.sweep_file import read_preset, write_all
from batchscope.engine.system.private_folders import check_closed, check_unshared, make_private
from batchscope.engine.system.untrusted_files import decode_json, open_to_write, read_bytes
from batchscope.engine.task_table import TaskTable
from batchscope.engine.tasks.module_digests import digest_of_code

NAME = "trust.json"


class NotTrusted(UsageProblem):
    """Code of a folder would be run that nobody has trusted; `folder` is its real path."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"{printable(folder)}: {why}")
        self.folder, self.why = folder, why


class _UnknownExport(NotTrusted):
    """The code of a preset that came in an export would be run, and its digest is not trusted."""

    def __init__(self, folder: Path, name: str, digest: str) -> None:
        super().__init__(
            folder,
            f"the preset {name} came in an export and runs code from this folder; look at the code "
            f"and at [task], then run it once with --trust {printable(folder)}: exactly this "
            "code and these arguments are trusted then",
        )
        self.digest = digest


class _UnknownPreset(NotTrusted):
    """A preset of a folder that is not trusted names code of one that is."""

    def __init__(self, code: "_Code") -> None:
        assert code.preset_folder is not None
        super().__init__(
            Path(os.path.realpath(code.preset_folder)),
            f"the preset {printable(code.name)} lies here, where nothing is trusted, and runs "
            f"{printable(code.runs)} of {printable(code.folder)} with arguments of its own; if you "
            f"trust it, run `batchscope trust {printable(code.preset_folder)}`, or name the folder "
            f"of the code yourself with --set task.path={printable(code.folder)}",
        )


class TrustedFolder(msgspec.Struct, frozen=True):
    """A folder that code may be run from: its real path, and the number of its owner."""

    path: str
    owner: int


class TrustedExport(msgspec.Struct, frozen=True):
    """The code of a preset that came in an export: its digest, name, and where it was trusted."""

    digest: str
    name: str
    path: str


class _TrustFile(msgspec.Struct, frozen=True):
    folders: tuple[TrustedFolder, ...] = ()
    exports: tuple[TrustedExport, ...] = ()


@dataclass(frozen=True, slots=True)
class TrustQuestion:
    """What to ask before a preset's code is run; `allow` is the answer yes.

    Attributes:
        folder: the real path of the folder that the code is in.
        text: the question, in sentences; or why it cannot be run at all.
        refused: whether it cannot be trusted as it is, so that there is nothing to answer.
        digest: of a preset that came in an export, the digest that is trusted; else empty.
        name: the name of the preset.
        runs: the functions that are run, such as `mine:make`.
    """

    folder: Path
    text: str
    refused: bool = False
    digest: str = ""
    name: str = ""
    runs: str = ""


@dataclass(frozen=True, slots=True)
class _Code:
    """The code of a preset: its folder, and its tables if it came in an export.

    Attributes:
        folder: the folder of the code.
        name: the name of the preset.
        exported: its tables, if it came in an export.
        runs: its functions.
        preset_folder: the folder of the preset, if that must be known, too.
    """

    folder: Path
    name: str
    exported: tuple[TaskTable, ...] = ()
    runs: str = ""
    preset_folder: Path | None = None


def trust_question(home: Path, preset: Preset, own: Path | None = None) -> TrustQuestion | None:
    """Return what to ask before a preset is run; None if it runs no code, or code that is trusted.

    It reads files, runs nothing and raises nothing. `own` is the folder of the user's own presets.
    """
    code = _code_of(preset, own)
    return _question(home, code) if code else None


def sweep_question(folder: Path) -> TrustQuestion | None:
    """Return what to ask before the sweep in `folder` is resumed; None as in `trust_question`."""
    code = _code_of_sweep(folder)
    return _question(folder.parent.parent, code) if code else None


def allow(home: Path, question: TrustQuestion) -> None:
    """Trust what a question asks about.

    Raises:
        NotTrusted: others may write to the folder.
        MachineProblem: the file cannot be written.
    """
    if not question.digest:
        trust(home, question.folder)
        return
    _owner(question.folder)
    new = TrustedExport(question.digest, question.name, str(question.folder))

    def added(known: _TrustFile) -> _TrustFile:
        kept = (each for each in known.exports if each.digest != new.digest)
        return _TrustFile(known.folders, (*kept, new))

    _change(home, added)


def trust_for(home: Path, folder: Path, preset: Preset | None) -> Path:
    """Do what `--trust FOLDER` asks for: trust the folder, and return its real path.

    If the code of `preset` is there and came in an export, exactly this code is trusted, and not
    the folder.

    Raises:
        NotTrusted: others may write to it.
        MachineProblem: the file cannot be written.
    """
    return _trust_for(home, folder, _code_of(preset) if preset else None)


def trust_for_sweep(sweep: Path, folder: Path) -> Path:
    """Do the same for the code of the stored sweep in the folder `sweep`."""
    return _trust_for(sweep.parent.parent, folder, _code_of_sweep(sweep))


def _trust_for(home: Path, folder: Path, code: _Code | None) -> Path:
    real = Path(os.path.realpath(folder))
    if code is None or not code.exported or Path(os.path.realpath(code.folder)) != real:
        return trust(home, real)
    question = _question(home, code)
    if question and question.refused:
        raise NotTrusted(real, question.text)
    if question:
        allow(home, question)
    return real


def check_preset(home: Path, preset: Preset, own: Path | None = None) -> None:
    """Check that the code of a preset is trusted, if it runs any.

    Args:
        home: the folder with the file of trusted folders.
        preset: the preset.
        own: the folder of the user's own presets.

    Raises:
        NotTrusted: it is not; the message says why, and how to allow it.
    """
    code = _code_of(preset, own)
    if code:
        _check(home, code)


def check_sweep(folder: Path) -> None:
    """Check that the code of the sweep in `folder` is trusted, if it runs any.

    Raises:
        NotTrusted: it is not; the message says why, and how to allow it.
    """
    code = _code_of_sweep(folder)
    if code:
        _check(folder.parent.parent, code)


def trusted_folders(home: Path) -> tuple[TrustedFolder, ...]:
    """Return the trusted folders of a home; none if the file is missing or damaged."""
    return _read(home).folders


def trusted_exports(home: Path) -> tuple[TrustedExport, ...]:
    """Return the trusted presets that came in exports; none if the file is missing or damaged."""
    return _read(home).exports


def _is_trusted(home: Path, folder: Path) -> bool:
    try:
        check_trusted(home, folder)
    except NotTrusted:
        return False
    return True


def check_trusted(home: Path, folder: Path, runs: str = "") -> None:
    """Check that code may be run from a folder.

    Args:
        home: the folder with the file of trusted folders.
        folder: the folder.
        runs: the functions that would be run, for the message.

    Raises:
        NotTrusted: it may not; the message says why, and how to allow it.
    """
    real = Path(os.path.realpath(folder))
    owner = _owner(real)
    known = {each.path: each.owner for each in trusted_folders(home)}
    if str(real) not in known:
        raise NotTrusted(
            real,
            f"this preset runs {f'{printable(runs)}, ' if runs else ''}code from this folder; if "
            f"you trust it, run `batchscope trust {printable(real)}` once, or add "
            f"--trust {printable(real)}",
        )
    if known[str(real)] != owner:
        raise NotTrusted(
            real,
            "has another owner than when it was trusted; if you trust it still, run "
            f"`batchscope trust {printable(real)}`",
        )


def trust(home: Path, folder: Path) -> Path:
    """Trust a folder, and return its real path.

    Raises:
        NotTrusted: others may write to it.
        MachineProblem: the file cannot be written.
    """
    real = Path(os.path.realpath(folder))
    new = TrustedFolder(str(real), _owner(real))

    def added(known: _TrustFile) -> _TrustFile:
        kept = tuple(each for each in known.folders if each.path != new.path)
        return _TrustFile((*kept, new), known.exports)

    _change(home, added)
    return real


def revoke(home: Path, folder: Path) -> None:
    """Trust a folder no longer, nor presets of exports that were trusted there.

    Raises:
        UsageProblem: it is not trusted.
        MachineProblem: the file cannot be written.
    """
    gone = {str(folder), os.path.realpath(folder)}

    def reduced(known: _TrustFile) -> _TrustFile:
        left = _TrustFile(
            tuple(each for each in known.folders if each.path not in gone),
            tuple(each for each in known.exports if each.path not in gone),
        )
        if left == known:
            raise UsageProblem(f"{printable(folder)}: is not trusted")
        return left

    _change(home, reduced)


def _code_of(preset: Preset, own: Path | None = None) -> _Code | None:
    if not preset.task_folder:
        return None
    tables = _tables(preset.configurations)
    near = {os.path.realpath(each) for each in (".", own) if each}
    points = Path(preset.points_from) if preset.points_from not in ("", *near) else None
    exported = tables if preset.exported else ()
    return _Code(Path(preset.task_folder), preset.name, exported, _runs(tables), points)


def _code_of_sweep(folder: Path) -> _Code | None:
    launch, _ = look_up(folder)
    if launch is None or not launch.task_folder:
        return None
    try:
        tables = _tables(read_preset(folder).configurations)
    except Problem:  # who resumes the sweep says what is wrong with it
        if launch.exported:
            return None
        tables = ()
    exported = tables if launch.exported else ()
    return _Code(Path(launch.task_folder), launch.preset, exported, _runs(tables))


def _tables(configurations: Iterable[Configuration]) -> tuple[TaskTable, ...]:
    return tuple(each.settings.task for each in configurations if each.settings.task)


def _runs(tables: Iterable[TaskTable]) -> str:
    return ", ".join(dict.fromkeys(each.use for each in tables))


def _check(home: Path, code: _Code) -> None:
    if not code.exported:
        check_trusted(home, code.folder, code.runs)
        if code.preset_folder is not None and not _is_trusted(home, code.preset_folder):
            raise _UnknownPreset(code)
        return
    real = Path(os.path.realpath(code.folder))
    _owner(real)
    try:
        digest = digest_of_code(code.exported, real)
    except UsageProblem as problem:
        raise NotTrusted(real, str(problem)) from None
    if all(each.digest != digest for each in trusted_exports(home)):
        raise _UnknownExport(real, code.name, digest)


def _question(home: Path, code: _Code) -> TrustQuestion | None:
    try:
        _check(home, code)
    except _UnknownExport as unknown:
        text = (
            f"This preset came in an export and runs code from {printable(unknown.folder)}. Run "
            "exactly this code with exactly these arguments? Any change is asked about again."
        )
        return TrustQuestion(
            unknown.folder, text, digest=unknown.digest, name=code.name, runs=code.runs
        )
    except NotTrusted as problem:
        real = problem.folder
        try:
            _owner(real)
        except NotTrusted as refused:
            return TrustQuestion(real, str(refused), refused=True, name=code.name)
        if code.exported:
            return TrustQuestion(real, str(problem), refused=True, name=code.name)
        if isinstance(problem, _UnknownPreset):
            text = (
                f"This preset lies in {printable(real)}, where nothing is trusted, and runs "
                f"{printable(code.runs)} of {printable(code.folder)} with arguments of its own. "
                "Trust the folder of the preset, with all that is in it now and later?"
            )
            return TrustQuestion(real, text, name=code.name, runs=code.runs)
        changed = any(each.path == str(real) for each in trusted_folders(home))
        why = "It has another owner than when it was trusted. " if changed else ""
        text = (
            f"This preset runs code from {printable(real)}. {why}Trust this folder, with all that "
            "is in it now and later?"
        )
        return TrustQuestion(real, text, name=code.name, runs=code.runs)
    return None


def _read(home: Path) -> _TrustFile:
    try:
        check_unshared(home / NAME)  # a home may be a folder in which everybody may create files
        return decode_json(read_bytes(home / NAME, follow=False), _TrustFile)
    except (OSError, msgspec.MsgspecError):
        return _TrustFile()


def _owner(real: Path) -> int:
    """Return the owner of a folder that no one else may write to."""
    try:
        check_closed(real)
        if not real.is_dir():
            raise NotTrusted(real, "there is no such folder")
        return real.stat().st_uid
    except OSError as error:
        why = error.strerror or str(error)
        raise NotTrusted(real, f"no code is run from there, because {why}") from None


def _change(home: Path, changed: Callable[[_TrustFile], _TrustFile]) -> None:
    """Replace the file; processes take turns, so that none undoes what another has done."""
    fresh = home / f".{NAME}.new"
    try:
        make_private(home)  # the menu has only read it until now
        with open_to_write(home / f".{NAME}.lock") as turn:
            with contextlib.suppress(OSError):  # not every file system has locks
                fcntl.flock(turn.fileno(), fcntl.LOCK_EX)
            content = msgspec.json.encode(changed(_read(home)))
            with open_to_write(fresh) as file:
                file.truncate()
                write_all(file.fileno(), content)
                os.fsync(file.fileno())
            fresh.replace(home / NAME)
    except OSError as error:
        why = error.strerror or str(error)
        raise MachineProblem(f"{printable(home / NAME)}: cannot be written: {why}") from None
