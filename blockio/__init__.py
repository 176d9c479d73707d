"""Types that backend, oracles and injectors share: requests, layers, extents, errors, write log.

They are in a package of their own, so that an oracle does not import the reference backend and
share its bugs.
"""
