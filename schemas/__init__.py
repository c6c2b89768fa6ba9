"""The playback event, the tables, the errors: what everything else agrees on. Imports nothing of ours."""
