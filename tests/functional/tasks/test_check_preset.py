"""`batchscope check mine.toml` checks the task of a preset, and the names that the preset has."""

import json

import pytest

from tests.functional.lab import Lab
from tests.functional.tasks.test_metric_names import CLAIM, MODULE, PRESET

SCORES = """
def scores(model, batch):
    inputs, expected = batch
    return model(inputs).expand(-1, 2), (expected > 0).long()
"""


@pytest.fixture
def own(lab: Lab) -> Lab:
    (lab.cwd / "mine.py").write_text(MODULE)
    (lab.cwd / "mine.toml").write_text(PRESET)
    return lab


def rows_of(out: str) -> dict[str, tuple[str, str]]:
    return {row["name"]: (row["verdict"], row["text"]) for row in json.loads(out)["checks"]}


def test_a_preset_is_not_checked_without_trust(own: Lab) -> None:
    (own.cwd / "mine.py").write_text("open('imported', 'w')\ndef make(seed): ...\n")
    outcome = own.run("check", "mine.toml")
    assert outcome.code == 2
    assert "batchscope trust" in outcome.err
    assert not (own.cwd / "imported").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("mine.toml", "--path", "."), "--set task.path"),
        (("mine:make", "--trust", "."), "only with a preset"),
        (("none.toml",), "no such preset file"),
        (("built-in.toml",), "has no [task]"),
    ],
)
def test_what_does_not_fit_is_refused(own: Lab, words: tuple[str, ...], part: str) -> None:
    (own.cwd / "built-in.toml").write_text(
        'title = "t"\n[data]\nname = "digits"\n[model]\nname = "mlp"\n'
        "[train]\nlr = 0.1\nepochs = 1\nbatch_size = 8\n"
    )
    outcome = own.run("check", *words)
    assert outcome.code == 2
    assert part in outcome.err


def test_a_name_that_the_task_lacks_is_a_row(own: Lab) -> None:
    scored = MODULE.replace("def make", SCORES + "\ndef make").replace(
        "loss=loss,", "loss=loss, scores=scores,"
    )
    (own.cwd / "mine.py").write_text(scored)
    (own.cwd / "mine.toml").write_text(PRESET + CLAIM)
    outcome = own.run("check", "mine.toml", "--json", "--trust", ".")
    assert outcome.code == 2
    assert json.loads(outcome.out)["measurable"] is False
    rows = rows_of(outcome.out)
    verdict, text = rows["the preset"]
    assert verdict == "wrong"
    assert "claims[0].measure" in text
    assert text.endswith("did you mean 'test_mae'?")
    assert rows["classes"][0] == "ok"
    assert rows["classes"][1].startswith("2 classes")
    assert [name for name, (verdict, _) in rows.items() if verdict == "wrong"] == ["the preset"]


@pytest.mark.campaign
def test_every_task_of_a_grid_is_checked(own: Lab) -> None:
    (own.cwd / "mine.py").write_text(MODULE.replace("make(seed)", "make(seed, width=1)"))
    (own.cwd / "mine.toml").write_text(PRESET + '"task.width" = [1, 2]\n')
    outcome = own.run("check", "mine.toml", "--json", "--trust", ".")
    assert outcome.code == 0
    tasks = json.loads(outcome.out)["tasks"]
    assert [each["use"] for each in tasks] == ["mine:make(width=1)", "mine:make(width=2)"]
    assert all(each["measurable"] and each["checks"] for each in tasks)
