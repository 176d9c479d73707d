"""The rule language: its forms, the model of a rule, and the engine that decides.

text --files--> RuleSet (frozen) --compile, nbdkit, parse_*.write--> text, or NotExpressible
                      |
                      +--> Engine (pure)
"""
