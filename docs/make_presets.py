"""Generate the tables of docs/presets.md from the types of a preset and from the presets.

    python docs/make_presets.py

A table is between `<!-- table: NAME -->` and `<!-- end -->`, where NAME is a struct of
`engine.spec`, `networks` or `presets`. The prose around is written by hand. What a key does is said
under its field in `engine/spec.py`, where it costs nothing at run time.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "presets.md"
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
WRITTEN = {
    "Interpolation": {"start": "from", "end": "to"},
    "Phase": {"lr": "set.lr", "batch_size": "set.batch_size"},
}
"""Keys that are written otherwise than the field is called."""
NOT_WRITTEN = {"Selection": ("keys",), "TaskTable": ("facts",)}
"""Fields that no key of their own stands for."""
SELECTED = {"Interpolation": ("start", "end")}
"""Fields that hold an id and are written as what picks it."""
ELSEWHERE = {"Train": ("batch_size", "lr")}
"""Fields without a default whose key may stand in another table."""

sys.path.insert(0, str(ROOT / "src"))


def words_of(kind: type[msgspec.Struct]) -> dict[str, str]:
    """What is said under each field of a struct, on one line."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    words, last = {}, ""
    for node in body.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                last = name
            case ast.Expr(value=ast.Constant(value=str(text))) if last:
                words[last], last = " ".join(text.split()), ""
            case _:
                last = ""
    return words


def table_of(kind: type[msgspec.Struct]) -> Iterator[str]:
    """The keys of a struct as rows."""
    from batchscope.engine.experiment.fields import expected, field_types

    name, words, types = kind.__name__, words_of(kind), field_types(kind)
    yield "| key | value | default | what it does |"
    yield "| --- | --- | --- | --- |"
    for field in msgspec.structs.fields(kind):
        if field.name in NOT_WRITTEN.get(name, ()):
            continue
        key = WRITTEN.get(name, {}).get(field.name, field.encode_name)
        picks = field.name in SELECTED.get(name, ())
        value = "a table" if picks else expected(types[field.encode_name])
        cells = f"`{key}`", value, default_of(field, name), words[field.name]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def default_of(field: Any, kind: str) -> str:
    """What holds where the key is left out, as TOML has it."""
    from batchscope.engine.experiment.toml_literal import literal

    if field.required:
        return "required" if field.name not in ELSEWHERE.get(kind, ()) else ""
    if field.default is None or field.default == ():
        return ""
    default = field.default
    return f"`{literal(list(default) if isinstance(default, tuple) else default)}`"


def networks_table() -> Iterator[str]:
    """Yield the table of the networks, with the keys of `[model]` that each takes and defaults."""
    from batchscope.engine.experiment.toml_literal import literal
    from batchscope.engine.networks.registry import FAMILIES

    yield "| name | network | keys and their defaults |"
    yield "| --- | --- | --- |"
    for name, family in FAMILIES.items():
        defaults = {"hidden": family.default_hidden, "channels": family.default_channels}
        keys = [
            f"`{key} = {literal(list(defaults[key]))}`" if key in defaults else f"`{key}`"
            for key in family.taken()
        ]
        yield f"| `{name}` | {family.summary} | {', '.join(keys)} |"


def presets_table() -> Iterator[str]:
    """Yield the table of the presets that are installed, by name."""
    from batchscope.engine.experiment.preset import load_preset
    from batchscope.engine.experiment.preset_catalog import preset_files

    yield "| name | title and question | source | trials |"
    yield "| --- | --- | --- | --- |"
    for name, path in preset_files().items():
        preset = load_preset(path)
        title = preset.title if preset.title.endswith("?") else f"{preset.title}."
        summary = f"{title} {preset.question}"
        count = preset.trial_count + preset.trials_after_choice
        yield f"| `{name}` | {summary} | {preset.source} | {count:,} |"


def page(text: str) -> str:
    """Return the page with its tables generated again.

    Raises:
        KeyError: a marker names an unknown table.
    """
    from batchscope.engine import spec

    def block(match: re.Match[str]) -> str:
        name = match[2]
        written = {"networks": networks_table, "presets": presets_table}
        rows = written[name]() if name in written else table_of(vars(spec)[name])
        return match[1] + "\n".join(rows) + "\n" + match[3]

    return BLOCK.sub(block, text)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
