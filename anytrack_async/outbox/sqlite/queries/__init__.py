"""Every SQL statement that reads or writes the tables of an outbox file, by name.

Parameters are positional, in the order in which they appear, unless they are numbered. The tables
are described in `tables`.
"""
