"""The contract between trainer and service: what a Mixer is, what a published version is."""
