"""Measurements: `python -m bench` of the service, and programs of their own, `bench.NAME`."""
