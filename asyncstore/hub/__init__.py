"""The hub's server: who may reach which data set, and a storage for those without a bucket.

Needs the extra `hub-server`. Nothing is imported here, so that the command line can look at one
room without the others.
"""
