"""Service: what becomes of a customer's message: an answer, a ticket, a rating."""
