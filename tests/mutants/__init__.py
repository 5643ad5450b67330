"""Mutation testing: small changes to the code that some fast test has to notice.

`mutate` makes the changes, `plugin` tries them inside of one pytest process, `command` is the body
of `./inv test --mutants`; `survivors.md` lists those that no test notices, with reasons.
"""
