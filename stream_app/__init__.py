"""The worker: transport, Faust app, process."""
