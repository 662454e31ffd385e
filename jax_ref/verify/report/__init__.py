"""From what was seen to what is said: explained findings, small examples, and lines that show them."""
