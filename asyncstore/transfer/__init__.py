"""Folders and prefixes from one place to another: planned, verified, recorded and resumed."""

from asyncstore.transfer.report import Events, Failure, Plan, Progress, Report

__all__ = ["Events", "Failure", "Plan", "Progress", "Report"]
