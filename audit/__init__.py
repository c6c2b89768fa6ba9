"""What reads all tables to prove or to tell: verify and status."""
