"""What keeps the site going: its start, its processes, its database."""
