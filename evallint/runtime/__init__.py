"""The runtime companion: watches real models and gives each finding a verdict. Only this package imports torch, and only when asked.

`hooks` tells `watcher` of forward calls, mode switches and optimizer steps; `watcher` and `training` keep `records`, plain counters;
`probing` measures on a twin; `observing` turns records into plain observations; `matching`, `verdicts` and `unseen` join these with
the findings.
"""
