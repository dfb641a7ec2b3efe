"""A release of labels: anonymous tables, a datasheet for people and one for programs, the paper's table and figure."""
