"""changeset"""
