"""Answer a customer's question from the knowledge base, or know that a person must: pure functions only."""
