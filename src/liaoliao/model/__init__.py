"""The Transformer and its folder: shapes, layers, cache, checkpoints, conversion, names."""
