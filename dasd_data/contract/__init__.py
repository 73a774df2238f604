"""What the rows of a view must satisfy before they are written.

`declared` reads it from front matter, `check` tests rows, `messages` what is rendered of them, and
`scorers` what they were chosen by.
"""
