"""What is searched in memory: the field's short records and words, as PostgreSQL searches texts."""
