"""Damaged files are shown as damaged: a sample of the campaign of `benchmarks/damage.py`."""

import dataclasses
import os
import shutil
import stat
from collections import Counter
from pathlib import Path

import pytest

from tests.functional.damage import checks
from tests.functional.damage.by_command import CommandCampaign
from tests.functional.damage.calls import Call, Called, run
from tests.functional.damage.cases import KINDS, OUTSIDE, parse, sampled
from tests.functional.damage.in_process import judged
from tests.functional.damage.recording import Places, recording
from tests.functional.lab import Lab

SEED = 25
CASES, PARTS = 40, 4
HANG_SECONDS = 120.0


@pytest.mark.slow
def test_no_changed_byte_becomes_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(tmp_path / "copy")
    shutil.copytree(recording().root, places.root)
    monkeypatch.setenv("BATCHSCOPE_CONFIG", str(places.settings))
    found = list(judged(places, SEED, 6))
    wrong = [f"{each.case}: {each.reader}: {each.outcome}" for each in found if each.wrong]
    assert not wrong, "\n".join(wrong[:20])
    outcomes = Counter(each.outcome for each in found)
    assert min(outcomes[each] for each in ("same", "marked", "refused")) > 20, outcomes


@pytest.mark.campaign
@pytest.mark.parametrize("part", range(PARTS))
def test_commands_on_damaged_files(part: int) -> None:
    """Each part has all kinds; `benchmarks/damage.py --case` repeats one."""
    cases = sampled(recording().root, CASES, SEED)[part::PARTS]
    wrong = []
    with CommandCampaign(recording(), HANG_SECONDS, None) as campaign:
        for number, case in enumerate(cases):
            for verdict in campaign.judge(case, terminal=number == part):
                wrong += [f"{case}: {verdict.call.name}: {fault}" for fault in verdict.faults]
    assert not wrong, "\n".join(wrong)


def test_a_case_is_the_same_when_repeated(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4
    for kind in ("flip", "cut"):
        damaged = []
        for name in ("one", "two"):
            (tmp_path / name / "export").mkdir(parents=True)
            path = tmp_path / name / "export" / "trials.csv"
            path.write_bytes(content)
            parse(f"{kind}:7:export/trials.csv").apply(tmp_path / name)
            damaged.append(path.read_bytes())
            shutil.rmtree(tmp_path / name)
        assert damaged[0] == damaged[1] != content


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_the_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / OUTSIDE).mkdir()
    path = tmp_path / "export" / "manifest.json"
    content = '{"program": "batchscope", "format": 1}'
    path.write_text(content)
    (path.parent / "beside").write_text("another file")
    parse(f"{kind}:3:export/manifest.json").apply(tmp_path)
    plain = os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode)
    assert not plain or path.stat().st_size != len(content) or path.read_text() != content


GOOD = Called(
    code=0, out="", err="", seconds=1, cpu=1, mebibytes=(30, 0), blocked=0, hung=False, left=0
)
LIST = Call(("list",))


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"code": -11}, "exit code -11"),
        ({"code": 2}, "without a message"),
        ({"err": "Traceback (most recent call last):\n"}, "traceback"),
        ({"out": "\x1b[2J\n"}, "raw control"),
        ({"out": "\x9b2J\n"}, "raw control"),
        ({"mebibytes": (131, 0)}, "memory"),
        ({"mebibytes": (30, 131)}, "conductor"),
        ({"hung": True}, "hung"),
        ({"left": 1}, "did not end"),
        ({"cpu": 7}, "processor time"),
        ({"blocked": 6}, "waited"),
    ],
)
def test_the_campaign_notices(bad: dict[str, object], word: str) -> None:
    got = dataclasses.replace(GOOD, **bad)  # type: ignore[arg-type]
    faults = [*checks.faults_of(LIST, got, GOOD), *checks.slow(got, GOOD, 5)]
    assert any(word in fault for fault in faults)
    assert not [*checks.faults_of(LIST, GOOD, GOOD), *checks.slow(GOOD, GOOD, 5)]


def test_a_command_that_takes_too_long_is_ended(lab: Lab) -> None:
    call = Call(("attach", "none"))
    got = run(call, Places(lab.root), 0.0)
    assert got.hung
    assert got.left == 0
    assert run(call, Places(lab.root), HANG_SECONDS).code == 2
