"""The recipes: each module holds one named `TrainConfig` with its command, result and cost."""
