"""The form of a preset's settings: edit them, see errors while typing, launch."""

import asyncio
from collections.abc import Sequence

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.experiment.draft import Checked, Draft, checked, split, value_problem
from batchscope.tui.config.commands import Command, bindings
from batchscope.tui.config.keymap import commands_at
from batchscope.tui.render.styled_text import EMPTY, Row, row
from batchscope.tui.screens import edit_form
from batchscope.tui.screens.answering_screen import AnsweringScreen
from batchscope.tui.screens.dialog import ConfirmDialog
from batchscope.tui.widgets.idle_field import IdleField
from batchscope.tui.widgets.key_hints import CHOOSING, hint_targets, hints
from batchscope.tui.widgets.list_picker import Picker
from batchscope.tui.widgets.rows_widget import Rows, is_open

TYPING = (
    Command("enter", "enter", "", "accept", "", "", "edit"),
    Command("escape", "esc", "", "cancel", "", "", "edit"),
)
"""The keys while the field has the focus."""
SEARCHING = (
    Command("enter", "enter", "", "keep search", "", "", "edit"),
    Command("escape", "esc", "", "clear", "", "", "edit"),
    Command("down", "↑ ↓", "", "select", "", "", "edit"),
)
"""The keys while the search has the focus."""
PAUSE_SECONDS = 0.05
MARGIN = 3


class EditScreen(AnsweringScreen):
    """A form over a draft of a preset; the preset's file is never written."""

    PLACE = "edit"
    CSS_PATH = "edit.tcss"
    BINDINGS = bindings("edit")

    def __init__(self, name: str, draft: Draft) -> None:
        super().__init__()
        self._preset, self._draft = name, draft
        self._checked: Checked | None = None
        self._wanted: list[str] | None = None
        self._reading = False
        self._query = ""

    def compose(self) -> ComposeResult:
        """Yield title, settings, field, notes and keys."""
        yield Rows(id="edit-title")
        with Horizontal(id="edit-filter"):
            yield Rows(id="edit-search-sign")
            yield IdleField("edit-search", "words of key, value or meaning")
        yield Picker(id="settings")
        yield Rows(id="edit-rule")
        with Horizontal(id="edit-field"):
            yield Rows(id="edit-key")
            yield IdleField("edit-value", select_on_focus=False)
        yield Rows(id="edit-notes")
        yield Rows(id="edit-hints")

    def on_mount(self) -> None:
        """Check the preset without changes."""
        self._check(self._draft.assignments)

    def on_resize(self) -> None:
        """Fit the rows to the screen."""
        self.call_after_refresh(self._draw)

    # Drawing

    def _draw(self) -> None:
        if not is_open(self):
            return
        width = self.size.width
        picker = self.query_one(Picker)
        inner = (picker.size.width or width) - 2 * MARGIN
        picker.offer(edit_form.items(self._draft, inner, self._query))
        self._lines("edit-search-sign").show([row((" / ", "key"))])
        changes = len(self._draft.assignments)
        self._lines("edit-title").show(
            [edit_form.title(self._preset, changes, self._checked, width)]
        )
        self._lines("edit-rule").show([row(("─" * width, "frame"))])
        if not self.typing:
            self._show_value()
        self._draw_notes()

    def _draw_notes(self) -> None:
        if not is_open(self):
            return
        box = self._lines("edit-notes")
        inner = max(1, box.size.width - 2 * MARGIN)
        lines = edit_form.notes(self._key, self._checked, inner, box.size.height)
        box.show([row(" " * MARGIN, *line) for line in lines])
        line = self._hints(self.size.width)
        self._lines("edit-hints").show([line], hint_targets(line, self._fitting()))

    def _show_value(self) -> None:
        """Show the whole value of the selected key: the list may cut it."""
        key = self._key
        label = row(
            " " * MARGIN, (printable(key) if key else "KEY=VALUE", "strong"), (" = ", "dim")
        )
        if key == edit_form.ANOTHER:
            label = row(" " * MARGIN, ("new setting, as KEY=VALUE", "strong"), ("  ", ""))
        lines = self._lines("edit-key")
        lines.styles.width = min(self.size.width // 2, sum(len(text) for text, _ in label))
        lines.show([label])
        field = self._field
        with field.prevent(Input.Changed):
            field.value = "" if key == edit_form.ANOTHER else self._draft.setting(key).text
            field.cursor_position = len(field.value)

    def _hints(self, width: int) -> Row:
        if self._said:
            return self._answer()
        if self.searching:
            return hints(SEARCHING, EMPTY, width)
        if self.typing:
            typing = hints(TYPING, EMPTY, width)
            return row(*typing, ("  an empty value removes the key", "dim"))
        return hints(self._fitting(), CHOOSING, width)

    def _fitting(self) -> Sequence[Command]:
        """Return the commands of the list, or those of the field."""
        if self.searching:
            return SEARCHING
        return TYPING if self.typing else commands_at("edit", self.batchscope.settings.keys)

    # Selection, typing and checking

    @property
    def _field(self) -> IdleField:
        return self.query_one("#edit-value", IdleField)

    @property
    def _search(self) -> IdleField:
        return self.query_one("#edit-search", IdleField)

    @property
    def typing(self) -> bool:
        """Whether the field of the value has the focus."""
        return self._field.has_focus

    @property
    def searching(self) -> bool:
        """Whether the field of the search has the focus."""
        return self._search.has_focus

    @property
    def _key(self) -> str:
        return self.query_one(Picker).key.removeprefix("set:")

    def _check(self, assignments: list[str]) -> None:
        """Check the preset with these changes, after a check that is still running."""
        self._wanted = assignments
        if not self._reading:
            self._reading = True
            self._read()

    @work
    async def _read(self) -> None:
        """Check in a thread, one after the other, until the latest changes are checked."""
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
        """Show a message in the last line until the next key."""
        self._said = text
        self._draw_notes()

    def on_picker_moved(self) -> None:
        """Show the selected value; discard what was being typed."""
        if self.typing:
            self._leave_field()
        self._said = ""
        self._draw()

    def on_picker_chosen(self) -> None:
        """Edit the value: its line was clicked again."""
        self.action_change()

    @on(Input.Changed, "#edit-search")
    def narrow(self, event: Input.Changed) -> None:
        """Show the settings that match, with every character."""
        self._query, self._said = event.value, ""
        self._draw()

    @on(Input.Submitted, "#edit-search")
    def keep(self) -> None:
        """Go back to the list and keep the search; hide an empty one."""
        self._leave_search()

    @on(Input.Changed, "#edit-value")
    def typed(self, event: Input.Changed) -> None:
        """Check the preset with what is typed so far."""
        if not self.typing:
            return
        self._said = ""
        if self._key != edit_form.ANOTHER:
            self._check(self._draft.trying(self._key, event.value).assignments)
        else:
            self._check([*self._draft.assignments, *([event.value] if event.value else [])])

    @on(Input.Submitted, "#edit-value")
    def take(self, event: Input.Submitted) -> None:
        """Accept the value, unless no preset can have it: then the field stays open."""
        key, text = self._key, event.value
        if key == edit_form.ANOTHER and text.strip():
            try:
                key, text = split(text)
            except UsageProblem as problem:
                self.say(printable(problem).removeprefix("--set "))
                return
        if key != edit_form.ANOTHER:
            if value_problem(key, text):
                self.say("Not taken: correct the value, or esc cancels")
                return
            self._draft.change(key, text)
        self._leave_field()
        self._draw()
        self.query_one(Picker).choose(f"set:{key}")
        self._check(self._draft.assignments)

    def _leave_field(self) -> None:
        self._field.leave()
        self._check(self._draft.assignments)

    def _leave_search(self) -> None:
        self._search.leave()
        self.set_class(bool(self._query.strip()), "-filtered")
        self.call_after_refresh(self._draw)

    # Keys

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        if self.typing:
            self.say("enter accepts the new value, esc cancels")
        elif not self.query_one(Picker).move(step):
            self.say("End of the list")

    def action_search(self) -> None:
        """Put the focus into the search."""
        self.add_class("-filtered")
        self._search.enter()
        self.call_after_refresh(self._draw)

    def action_change(self) -> None:
        """Edit the value."""
        self._field.enter()
        self.call_after_refresh(self._draw_notes)

    def action_reset(self) -> None:
        """Reset the selected key to the preset's value."""
        key = self._key
        if key == edit_form.ANOTHER or not self._draft.setting(key).changed:
            self.say("Nothing to reset: the value is the preset's own")
            return
        self._draft.reset(key)
        self._draw()
        self._check(self._draft.assignments)

    def action_reset_all(self) -> None:
        """Reset all keys to the preset's values."""
        if not self._draft.assignments:
            self.say("Nothing to reset: no setting was changed")
            return
        self._draft.reset_all()
        self._draw()
        self._check(self._draft.assignments)

    def action_launch(self) -> None:
        """Launch the draft, if it is valid."""
        self.say("Checking the settings…")
        self._launch()

    @work(group="launch", exclusive=True)
    async def _launch(self) -> None:
        result = await asyncio.to_thread(checked, self._draft.path, self._draft.assignments)
        if result.preset:
            self.batchscope.launch(result.preset)
            return
        self._checked = result
        self._draw()
        self.say("Not launched: correct the error shown above first")

    def action_back(self) -> None:
        """Cancel the edit of a value or the search, or close the form.

        It asks first if there are changes.
        """
        if self.typing:
            self._leave_field()
            self._draw()
        elif self.searching or self._query:
            self._search.value = self._query = ""
            self._leave_search()
        elif not self._draft.assignments:
            self.dismiss()
        else:
            count = len(self._draft.assignments)
            self.app.push_screen(
                ConfirmDialog(
                    f"Discard {count} change{'s' * (count > 1)}?",
                    "Nothing was launched. The preset's file is unchanged.",
                    "discard",
                    "keep editing",
                ),
                self._discard,
            )

    def _discard(self, yes: bool | None) -> None:
        if yes:
            self.dismiss()
        else:
            self.say("")
