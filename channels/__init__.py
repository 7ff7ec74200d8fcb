"""Speak to platforms: turn their payloads into values and values into their payloads. No CRM, no database."""
