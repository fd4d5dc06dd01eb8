"""Conversation on top of the engine: turns, tools, and the assistant that puts them together."""
