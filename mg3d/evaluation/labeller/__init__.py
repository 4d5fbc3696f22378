"""Which of the 18 findings a report states, by rules that a reader can follow."""
