"""The reading of mail in a process of its own: a mail that hangs, bloats or crashes its reader harms no other
mail.
"""
