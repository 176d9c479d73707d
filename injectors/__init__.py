"""Faults: the rule language, and one module for each kind of fault.

The life of a fault, from the text of a rule to the damaged reply and the counts:

1. `rules.files.read` recognises the form of a rules file and calls its reader, such as
   `rules.parse_yaml.read`. For the command rule-add, `rules.commands.commands_of` does this step.
2. `rules.fields.rule_from` turns the keys of each rule into a `rules.model.Rule`. It creates the
   fault from ``action`` (`rules.actions.ACTIONS`); the fault's own fields are checked there.
3. `layer.RuleLayer.add` passes the rules to `rules.engine.Engine.load`, which gives each an id and
   an entry with counts, `rules.engine.Armed`. Rules of the event none are armed now.
4. A request comes to `layer.RuleLayer.handle`. It fires the events of the request
   (`rules.engine.Engine.on_event`), which arm rules and change the state.
5. `rules.engine.Engine.decide` returns the first armed rule that covers the request (`rules.index`
   finds these) and that takes it: ``connection``, `Fault.applies`, then ``after``, ``every`` and
   ``probability``. It counts the match and the firing. ``once`` and ``count`` end the rule here.
6. `layer.RuleLayer._inject` emits FAULT_INJECTED, and passes a `rules.fault.Call` to the fault.
7. `Fault.inject` carries the request out wrongly: it changes the request for the layer below, the
   reply, or, by `rules.fault.rewire`, the bytes of the reply on the wire.
8. `layer.RuleLayer.handle` fires the event after the request, such as pwritev_done, and returns the
   reply. The server encodes it and applies `Reply.on_wire`.
9. `rules.engine.Engine.counts` returns the counts of a rule, for query-rules and rule-del. The kit
   (qbdcheck.kit.armed_rules) marks a case as BROKEN if a rule never fired, unless it has
   ``may_not_fire``.
"""
