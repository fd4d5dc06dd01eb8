"""The routes, a file for each family: they read a wire form, ask `reply` or the engine, and write a wire
form.
"""
