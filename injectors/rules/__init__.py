"""The rule language: what a rule says, how it is read, and the engine that decides.

blkdebug.conf --parse_ini--> RuleSet (frozen) --compile--> blkdebug of QEMU, or NotExpressible
                                    |
                                    +--> Engine (pure)
"""
