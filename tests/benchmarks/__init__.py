"""Speed and memory beside other libraries and bare products, run by hand and kept in results.json.

A benchmark is a module here whose `rows(size=...)` yields rows as they are ready, named in `NAMES`. A row has `what`,
`size`, `threads`, `ours` (seconds), and where there is something beside it `other`, `theirs` and `ratio`, measured by
turns in one process; further keys are kept and not shown.
"""

NAMES = ("products", "datafold_kernel", "memory", "streaming", "embedding", "splines", "latency", "scaling")
