"""Files of any make become clean values, and those become rows that can be taken back.

files.read(path)          files.py, excel.py   rows as the file has them: encoding, delimiter and form found out
kinds.parsed(kind, …)     kinds.py, rows.py    clean values, or Rejected; columns.py says which column is which
                          values.py, phones.py, guesses.py   single values: read, corrected, inferred
write.Contacts            write.py, trade.py, events.py, deals.py   a thousand rows a transaction
runs.begin(tx, …)         runs.py, undo.py     what each import did: it can go on, and be undone

Up to `rows` all is pure; crm_store.importer puts it together.
"""
