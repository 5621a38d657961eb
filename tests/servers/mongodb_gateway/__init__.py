"""A MongoDB server of one node for the tests: its wire protocol over PostgreSQL's DocumentDB.

The extension ``documentdb`` keeps and queries BSON; its SQL functions take a command of the
protocol and give the reply. What this program adds is the wire, sessions, transactions,
cursors and MongoDB's error codes. It is test code: it listens on loopback only and asks nobody
for a password.

::

    PYTHONPATH=tests/servers python -m mongodb_gateway \
        --listen 127.0.0.1:27118 --engine postgresql://postgres@127.0.0.1:25433/postgres
"""
