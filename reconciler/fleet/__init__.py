"""Many stacks and accounts in one run (``recon fleet``).

    declared.py     fleet.yaml -> units; a unit is one stack
    work.py         one unit, in a worker: the command as anybody would run it, and its report
    reports.py      where the reports are: a folder or a bucket
    coordinate.py   which unit runs when; what has no report at the end
    local.py        workers as processes of this machine
    dask_cluster.py workers of a Dask cluster (the extra ``fleet``)
    outcome.py      one document over all

A unit is done when its report is stored, and not before: a worker may die at any time, and so may the coordinator.
"""
