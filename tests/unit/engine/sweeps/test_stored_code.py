"""A resume that must fail is refused by the files' bytes, before any process is started."""

import hashlib
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import Preset, load_preset
from batchscope.engine.journal import events as ev
from batchscope.engine.sweeps.launcher import cannot_resume, check_code, start_conductor
from batchscope.engine.sweeps.store import Launch, create_sweep
from batchscope.engine.sweeps.stored_code import refuse_code
from batchscope.engine.sweeps.trust import trust
from batchscope.engine.task_table import TaskFacts
from batchscope.engine.tasks.code_digests import CodeRefused
from tests.unit.engine.sweeps import store_fixtures

PRESET = """title = "Mine"
[task]
use = "mine:make"
[train]
lr = 0.1
epochs = 1
[grid]
batch_size = [8]
"""
CLAIM = """[[claims]]
statement = "it is low"
measure = "test_mea"
relation = "less"
value = 1.0
left = { batch_size = 8 }
"""
FACTS = TaskFacts(train=10, test=4, weights=3, metrics=(("mae", "lower"),))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Stored:
    """A stored sweep that has trained with two modules, and its trusted folder."""

    def __init__(self, root: Path, preset: str = PRESET) -> None:
        self.code = root / "code"
        self.code.mkdir(mode=0o755)
        (self.code / "mine.py").write_text("def make(seed): ...\n")
        (self.code / "late.py").write_text("x = 1\n")
        (self.code / "mine.toml").write_text(preset)
        home = store_fixtures.home(root)
        trust(home, self.code)
        self.preset: Preset = load_preset(self.code / "mine.toml")
        self.folder = create_sweep(home, self.preset, Launch(preset="mine"))
        known = (("mine.py", digest("def make(seed): ...\n")),)
        ready = ev.DataReady(
            name="mine:make",
            train=10,
            test=4,
            shape=(0, 0, 0),
            digest="d",
            task=replace(FACTS, digests=known),
        )
        late = ev.CodeLoaded(name="mine:make", digests=(("late.py", digest("x = 1\n")),))
        ended = ev.SweepEnded(
            state="stopped", seconds=1.0, trials=1, finished=0, failed=0, exit_code=130
        )
        opened = store_fixtures.opened(self.folder, self.preset)
        store_fixtures.write(self.folder, opened, ready, late, ended)

    @property
    def journal(self) -> bytes:
        return (self.folder / "journal.jsonl").read_bytes()


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def test_unchanged_code_is_not_refused(stored: Stored) -> None:
    (stored.code / "other.py").write_text("never imported\n")
    check_code(stored.folder)
    assert cannot_resume(stored.folder) == ""


@pytest.mark.parametrize("name", ["mine.py", "late.py"])
def test_changed_code_is_refused_and_the_sweep_stays_as_it_was(stored: Stored, name: str) -> None:
    before = stored.journal
    (stored.code / name).write_text("changed\n")
    with pytest.raises(CodeRefused) as caught:
        start_conductor(stored.folder)
    assert caught.value.files == (name,)
    assert caught.value.exit_code == 2
    assert name in str(caught.value)
    assert f"`batchscope resume {stored.folder.name} --accept-code`" in str(caught.value)
    assert cannot_resume(stored.folder) == str(caught.value)
    assert stored.journal == before
    assert sorted(each.name for each in stored.folder.iterdir() if "log" in each.name) == []


def test_accepted_code_may_run(stored: Stored) -> None:
    (stored.code / "mine.py").write_text("def make(seed): ...  # changed\n")
    with pytest.raises(CodeRefused):
        check_code(stored.folder)
    check_code(stored.folder, accepts=True)


def test_a_missing_module_is_left_to_a_run_because_code_may_write_it(stored: Stored) -> None:
    (stored.code / "late.py").unlink()
    refuse_code(stored.folder)


def test_a_name_that_the_task_lacks_cannot_be_resumed_even_with_accepted_code(
    tmp_path: Path,
) -> None:
    stored = Stored(tmp_path, PRESET + CLAIM)
    with pytest.raises(UsageProblem) as caught:
        refuse_code(stored.folder, accepts=True)
    text = str(caught.value)
    assert "claims[0].measure" in text
    assert "'test_mae'" in text
    assert "start a new one" in text
    assert cannot_resume(stored.folder) == text
