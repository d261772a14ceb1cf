"""Templates: text with places for variables, written by admins, rendered for one recipient.

A room of its own, since rendering is a language, and neither the domain's nor the database's words.
"""
