"""The service: answers image requests over HTTP with the Mixers of a model store."""
