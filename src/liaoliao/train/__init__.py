"""The one training loop and what it is fed with: objectives, optimizers, schedules, run folders."""
