"""The rules that make a contact of a message: the plan of what goes where, the attributes, and the
request.
"""
