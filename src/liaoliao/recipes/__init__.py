"""Whole runs, readable top to bottom: a recipe is a frozen dataclass and a function that carries it out."""
