"""Finding: customers by whatever is remembered of them, and every word that was written.

find_contacts(tx, "jonh smtih")        contacts.py  the exact first, then names; rank.py says how well they fit
text.search(tx, text.parse("refund"))  text.py      messages, notes, articles and orders
indexing.step(tx)                      indexing.py  keeps the index true, behind the line
"""

from crm_store.search.contacts import Hit, find_contacts

__all__ = ["Hit", "find_contacts"]
