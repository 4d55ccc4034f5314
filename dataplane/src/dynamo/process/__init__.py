"""What every process of the data plane does at its edge: read flags and environment once, write structured logs.

It knows nothing of requests, workers or models.
"""
