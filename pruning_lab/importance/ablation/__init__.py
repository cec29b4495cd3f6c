"""The true effect of a group: masked, and what lies behind it run again."""
