"""The task `inspect`: a model looked over before anything is trained."""
