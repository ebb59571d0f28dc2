"""Work that several processes do together."""
