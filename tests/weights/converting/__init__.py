"""Conversions of files, with peers of the tests' own: a faultless one, and faulty ones that must be noticed."""
