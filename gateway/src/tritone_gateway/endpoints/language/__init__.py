"""Addresses of the language model: chats and responses."""
