"""Results in databases: the SQL history store, ``dlm_table``, and the MongoDB upload (contract 18).

``database``, ``migrations``, ``queries``, ``schema``, ``store``, ``upload`` and ``writing`` import SQLAlchemy
at their top: import them inside the function that needs them.  The others are cheap.
"""
