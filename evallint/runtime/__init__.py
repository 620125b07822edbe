"""The runtime companion: watches real models and gives each finding a verdict. Only this package imports torch, and only when asked.

`hooks` tells `watcher` of forward calls, mode switches and optimizer steps; `watcher` keeps `records`, plain counters; `probing` measures on a
twin; `observing` turns records into plain observations; `verdicts` joins these with the findings.
"""
