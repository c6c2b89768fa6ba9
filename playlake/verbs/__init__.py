"""One module a verb: its settings (flags over variables over file) and `run(settings) -> exit code`."""
