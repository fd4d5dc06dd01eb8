"""Tasks measure an assistant: the town's questions, bits per byte, multiple choice; see `task` and
`registry`."""
