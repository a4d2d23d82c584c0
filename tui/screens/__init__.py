"""The screens of the app, each with its styles in a file of the same name."""
