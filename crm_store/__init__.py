"""Remember: tables and queries. No network, no wording; functions are synchronous and take the transaction first."""
