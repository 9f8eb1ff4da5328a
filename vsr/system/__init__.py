"""Files, folders, devices and memory, independent of the operating system."""
