"""Batch transform's record loop: `python -m dewfall.images.batch`, a process of the job, sends records of files to the job's replicas.

Why a process of its own: it survives the server's death, and the server spends no time on records.

    files ─ splitting ─ filters (what is sent) ─ batches ─ calls ─ filters (join, what is kept) ─ <number of the file>
"""
