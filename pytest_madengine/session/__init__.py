"""What a session has and makes: its settings, items, services."""
