"""Trial cuts on copies: is a cut what the graph says it is?"""
