"""Exports a sweep as tables, documents and a report, written completely or not at all."""
