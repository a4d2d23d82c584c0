"""How the states of a sweep are told: a sign and a colour, always beside the word itself."""

SIGNS = {
    "starting": ("◌", "accent"),
    "preparing": ("◌", "accent"),
    "running": ("●", "good"),
    "paused": ("‖", "warn"),
    "stopping": ("■", "warn"),
    "finished": ("✓", "good"),
    "stopped": ("■", "warn"),
    "failed": ("✗", "bad"),
    "interrupted": ("!", "warn"),
}
