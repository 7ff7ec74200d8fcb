"""What is held on a person: where it lies, how it is given out, how it goes, and how it stays gone.

held        every table, and how rows of it belong to a person: what erasing leaves of them
words       a person's words, and whether a text that names nobody repeats them
traces      rows that belong to nobody and yet speak of a person: answers to staff, raw messages, audits
treat       what erasing leaves of rows that are neither deleted nor blanked by columns alone
tombstones  keyed hashes of what must not come back
listed      the list outside the store, from which a restored backup is erased again
"""
