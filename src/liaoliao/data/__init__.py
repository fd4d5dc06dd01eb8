"""Data: from files of records to packed batches; see `records`, `sources`, `shards`, `packing` and `loader`,
in this order."""
