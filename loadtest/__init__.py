"""Load tests of a running service, from outside: it is known here by its HTTP contract alone."""
