"""Finding: customers by whatever is remembered of them, and every word that was written.

find_contacts(tx, "jonh smtih")        contacts.py  the exact first, then names.py; rank.py says how well they fit
text.search(tx, text.parse("refund"))  text.py      messages, notes, articles and orders
indexing.step(tx)                      indexing.py  keeps the index true, behind the line: naming.py, texts.py

What is asked goes through asking.py, and is answered by answering.py: from FTS5 on SQLite (tables.py), from
postings.py on PostgreSQL. Who bears a name stands in bearers.py.
"""

from crm_store.search.contacts import Hit, find_contacts

__all__ = ["Hit", "find_contacts"]
