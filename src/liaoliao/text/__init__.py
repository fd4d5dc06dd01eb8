"""Text ⇄ token ids: the tokenizer, the chat template and the parser of what a model says. No torch here."""
