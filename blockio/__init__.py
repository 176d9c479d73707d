"""What backend, oracles and injectors share: requests and layers, extents, errors, the write log.

Neutral ground: an oracle that imported the reference backend could share its bugs.
"""
