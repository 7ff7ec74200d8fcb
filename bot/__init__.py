"""Decide: the only package that knows both the channels and the store."""
