"""The settings of a preset as a form: changed in place, checked as one types, launched."""

import asyncio

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.experiment.draft import Checked, Draft, checked, split
from batchscope.tui.config.commands import bindings
from batchscope.tui.config.keymap import commands_at
from batchscope.tui.render.styled_text import Row, row
from batchscope.tui.screens import edit_form
from batchscope.tui.screens.answering_screen import AnsweringScreen
from batchscope.tui.screens.dialog import ConfirmDialog
from batchscope.tui.widgets.idle_field import IdleField
from batchscope.tui.widgets.key_hints import CHOOSING, hints
from batchscope.tui.widgets.list_picker import Picker
from batchscope.tui.widgets.rows_widget import Rows, stands

PAUSE_SECONDS = 0.05
MARGIN = 3


class EditScreen(AnsweringScreen):
    """A draft and what came of reading it; the file itself is never written."""

    PLACE = "edit"
    CSS_PATH = "edit.tcss"
    BINDINGS = bindings("edit")

    def __init__(self, name: str, draft: Draft) -> None:
        super().__init__()
        self._preset, self._draft = name, draft
        self._checked: Checked | None = None
        self._wanted: list[str] | None = None
        self._reading = False

    def compose(self) -> ComposeResult:
        """Title, settings, the field, what comes of it, keys."""
        yield Rows(id="edit-title")
        yield Picker(id="settings")
        yield Rows(id="edit-rule")
        with Horizontal(id="edit-field"):
            yield Rows(id="edit-key")
            yield IdleField("edit-value", select_on_focus=False)
        yield Rows(id="edit-notes")
        yield Rows(id="edit-hints")

    def on_mount(self) -> None:
        """Read the preset as it is."""
        self._check(self._draft.assignments)

    def on_resize(self) -> None:
        """The rows are as wide as the screen."""
        self.call_after_refresh(self._draw)

    # Drawing

    def _draw(self) -> None:
        if not stands(self):
            return
        width = self.size.width
        picker = self.query_one(Picker)
        picker.offer(edit_form.items(self._draft, (picker.size.width or width) - 2 * MARGIN))
        changes = len(self._draft.assignments)
        self._lines("edit-title").show(
            [edit_form.title(self._preset, changes, self._checked, width)]
        )
        self._lines("edit-rule").show([row(("─" * width, "frame"))])
        if not self.typing:
            self._show_value()
        self._draw_notes()

    def _draw_notes(self) -> None:
        if not stands(self):
            return
        box = self._lines("edit-notes")
        inner = max(1, box.size.width - 2 * MARGIN)
        lines = edit_form.notes(self._key, self._checked, inner, box.size.height)
        box.show([row(" " * MARGIN, *line) for line in lines])
        self._lines("edit-hints").show([self._hints(self.size.width)])

    def _show_value(self) -> None:
        """The whole value of the chosen key, below the list where it may be cut."""
        key = self._key
        label = row(
            " " * MARGIN, (printable(key) if key else "KEY=VALUE", "strong"), (" = ", "dim")
        )
        if key == edit_form.ANOTHER:
            label = row(" " * MARGIN, ("another key, as KEY=VALUE", "strong"), ("  ", ""))
        lines = self._lines("edit-key")
        lines.styles.width = min(self.size.width // 2, sum(len(text) for text, _ in label))
        lines.show([label])
        field = self.query_one(IdleField)
        with field.prevent(Input.Changed):
            field.value = "" if key == edit_form.ANOTHER else self._draft.setting(key).text
            field.cursor_position = len(field.value)

    def _hints(self, width: int) -> Row:
        if self._said:
            return self._answer()
        if self.typing:
            return row(
                (" enter", "key"), (" take it", "dim"), ("  esc", "key"), (" as it was", "dim"),
                ("  empty takes the key out", "dim"),
            )  # fmt: skip
        return hints(commands_at("edit", self.batchscope.settings.keys), CHOOSING, width)

    # What is chosen, typed and read

    @property
    def typing(self) -> bool:
        """Whether keys go into the field."""
        return self.query_one(IdleField).has_focus

    @property
    def _key(self) -> str:
        return self.query_one(Picker).key.removeprefix("set:")

    def _check(self, assignments: list[str]) -> None:
        """Have the preset read with these changes; where one is being read, after that."""
        self._wanted = assignments
        if not self._reading:
            self._reading = True
            self._read()

    @work
    async def _read(self) -> None:
        """Read in a thread, one after the other, until the latest changes have been."""
        try:
            while self._wanted is not None:
                await asyncio.sleep(PAUSE_SECONDS)
                wanted, self._wanted = self._wanted, None
                result = await asyncio.to_thread(checked, self._draft.path, wanted)
                if self._wanted is None:
                    self._checked = result
                    self._draw()
        finally:
            self._reading = False

    def say(self, text: str) -> None:
        """Answer a key that changed nothing else, until the next one."""
        self._said = text
        self._draw_notes()

    def on_picker_moved(self) -> None:
        """Another value; what was being typed is dropped."""
        if self.typing:
            self._leave_field()
        self._said = ""
        self._draw()

    def on_picker_chosen(self) -> None:
        """A click on the chosen key."""
        self.action_change()

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """See what would come of it."""
        if not self.typing:
            return
        self._said = ""
        if self._key != edit_form.ANOTHER:
            self._check(self._draft.trying(self._key, event.value).assignments)
        else:
            self._check([*self._draft.assignments, *([event.value] if event.value else [])])

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """The value holds from now on, and what does not fit together is told until it does."""
        key, text = self._key, event.value
        if key == edit_form.ANOTHER and text.strip():
            try:
                key, text = split(text)
            except UsageProblem as problem:
                self.say(printable(problem).removeprefix("--set "))
                return
        if key != edit_form.ANOTHER:
            self._draft.change(key, text)
        self._leave_field()
        self._draw()
        self.query_one(Picker).choose(f"set:{key}")
        self._check(self._draft.assignments)

    def _leave_field(self) -> None:
        self.query_one(IdleField).leave()
        self._check(self._draft.assignments)

    # What the keys do

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        if self.typing:
            self.say("enter takes what is typed, esc leaves the value as it was")
        elif not self.query_one(Picker).move(step):
            self.say("the list ends here")

    def action_change(self) -> None:
        """Type another value."""
        self.query_one(IdleField).enter()
        self.call_after_refresh(self._draw_notes)

    def action_reset(self) -> None:
        """The chosen key back to what the file says."""
        key = self._key
        if key == edit_form.ANOTHER or not self._draft.setting(key).changed:
            self.say("nothing to reset here: it is as the file has it")
            return
        self._draft.reset(key)
        self._draw()
        self._check(self._draft.assignments)

    def action_reset_all(self) -> None:
        """Every key back to what the file says."""
        if not self._draft.assignments:
            self.say("nothing was changed")
            return
        self._draft.reset_all()
        self._draw()
        self._check(self._draft.assignments)

    def action_launch(self) -> None:
        """Launch what the draft says, if it can be read."""
        self.say("reading the settings…")
        self._launch()

    @work(group="launch", exclusive=True)
    async def _launch(self) -> None:
        result = await asyncio.to_thread(checked, self._draft.path, self._draft.assignments)
        if result.preset:
            self.batchscope.launch(result.preset)
            return
        self._checked = result
        self._draw()
        self.say("it cannot be launched like this; the reason stands above")

    def action_back(self) -> None:
        """Leave the field as it was; or leave the form, after a question if it holds changes."""
        if self.typing:
            self._leave_field()
            self._draw()
        elif not self._draft.assignments:
            self.dismiss()
        else:
            count = len(self._draft.assignments)
            self.app.push_screen(
                ConfirmDialog(
                    f"Drop {count} change{'s' * (count > 1)}?",
                    "Nothing was launched, and the file of the preset is as it was.",
                    "drop",
                    "stay",
                ),
                self._dropped,
            )

    def _dropped(self, yes: bool | None) -> None:
        if yes:
            self.dismiss()
        else:
            self.say("nothing was dropped")
