"""What differs between operating systems and machines, each behind one function."""
