"""Putting right what a look found wrong with a target's files: a plan (pure), and the doing of it.

Only what the plan names is touched. What is replaced is kept beside, as ``NAME.corrupt-TIME``; new content is made in a folder of its own on the same file
system, verified there, and renamed into its place. Nothing half-written, and nothing unverified where a digest is published, ever has a file's final name.
"""

from diagnostics.repair.plan import Source, repairs

__all__ = ["Source", "repairs"]
