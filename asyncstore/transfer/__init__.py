"""Folders and prefixes from one place to another: planned, verified, recorded and resumed."""

from asyncstore.transfer.report import Failure, Progress, Report

__all__ = ["Failure", "Progress", "Report"]
