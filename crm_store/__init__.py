"""Remember: tables and queries. No network, no wording; functions are synchronous, the transaction first."""
