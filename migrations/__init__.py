"""The schema of the log as numbered SQL files, applied in the order of their names and never edited afterwards.

``@schema@`` stands for the quoted name of the schema; :mod:`eventstore.migrate` puts it in.
"""
