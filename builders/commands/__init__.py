"""The stages as commands of `dasd-data`; nothing heavy is imported before one runs."""
