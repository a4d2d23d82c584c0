"""What prints: one module for lines, so that no text reaches a terminal as it was written."""

import ast
from pathlib import Path

import pytest

import batchscope.tui
from batchscope.tui.terminal import output

ROOT = Path(batchscope.tui.__file__).parent
ALLOWED = {
    "terminal/output.py",
    "headless/log_lines.py",  # each line is printable or JSON
    "start.py",  # the title's escape sequence
    "terminal/termination.py",  # the sequences that leave the screen
}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def prints(node: ast.AST) -> bool:
    """Return whether a node prints, or writes to a standard stream or a descriptor."""
    if not isinstance(node, ast.Call):
        return False
    of = node.func
    if isinstance(of, ast.Name):
        return of.id == "print"
    if not (isinstance(of, ast.Attribute) and of.attr in ("write", "writelines")):
        return False
    target = of.value
    return (isinstance(target, ast.Attribute) and target.attr in STREAMS) or (
        isinstance(target, ast.Name) and target.id == "os"
    )


def test_nothing_else_prints() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if any(prints(node) for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    }
    assert found == ALLOWED


def test_each_line_loses_its_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("a\x1b[2Jb", "c\nd", "e\u202ef\x9b\udcff")
    output.complain("\x07x\r\n")
    said = capsys.readouterr()
    assert said.out == "a\ufffd[2Jb\nc\ufffdd\ne\ufffdf\ufffd\ufffd\n"
    assert said.err == "\ufffdx\ufffd\ufffd\n"
