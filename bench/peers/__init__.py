"""Other model servers around the same network, engine and decoder, to compare the service with."""
