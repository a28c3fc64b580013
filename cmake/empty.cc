// A library needs one source, also while a room holds only headers.
