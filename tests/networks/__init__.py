"""The one home of the small networks that tests trace, score, cut and train, and of the small experiment."""
