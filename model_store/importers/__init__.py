"""Readers (and writers) of the weight files that other projects publish."""
