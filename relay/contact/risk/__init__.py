"""The risks of a mail for its reader, a person or a program: closed codes, found without asking anybody."""
