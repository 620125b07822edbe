"""What an editor asks for, as plain values: texts that change, findings that move with them, and actions; no protocol."""
