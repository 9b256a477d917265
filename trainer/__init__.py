"""The offline trainer: makes the checkpoints that the service serves."""
