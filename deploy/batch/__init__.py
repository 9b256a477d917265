"""A Ray Data job that classifies or embeds every image of a folder or bucket: docs/batch.md.

__main__ (options) → job (what is computed, fixed at the first start) → parts (what is missing) →
cluster (Ray) → worker (the service's own loading, checks, decoding and batching) → rows → table
"""
