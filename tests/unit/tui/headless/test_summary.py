"""The summary on a terminal: sentences are wrapped at words, table rows are not."""

from batchscope.tui.headless.summary import folded

ROW = "2048, lr 0.05   3/3   0.7148 ± 0.1446   0.006351 s    278,113"
TEXT = f"""{ROW}

✓ A larger batch needs more samples to the target
  supported  +11,605 [+8,837, +14,373], n=3  2048: no candidate for lr can be chosen

Which batch size to use is undetermined: all 4 configurations cannot be told apart."""


def test_sentences_are_wrapped_at_words_and_rows_are_not() -> None:
    lines = folded(TEXT, 50).split("\n")
    assert lines[0] == ROW
    assert max(map(len, lines[1:])) <= 50
    assert lines[4] == "  no candidate for lr can be chosen"
    assert " ".join(folded(TEXT, 50).split()) == " ".join(TEXT.split())


def test_lines_that_fit_are_not_wrapped() -> None:
    assert folded(TEXT, 200) == TEXT
