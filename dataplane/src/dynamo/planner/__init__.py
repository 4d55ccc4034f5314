"""The planner: sizes a graph's workers from what frontends and workers measure, and says why.

`python -m dynamo.planner` runs it. `decide` is the pure core; `loop` feeds it with what `scrape` reads and hands its
decisions to a `Connector`.
"""
