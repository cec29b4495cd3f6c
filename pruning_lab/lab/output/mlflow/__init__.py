"""Where a run is logged, to be compared with others. The only folder that knows MLflow; knows no models.

`store` opens a store, `entries` sends what a run's journal holds, `open_run` does so when it can, `tracker` is what the
lab talks to, `parent` keeps the run above the jobs of a sweep, `upload` sends what a store has missed. MLflow is
imported when a run starts.
"""

from pruning_lab.lab.output.mlflow.tracker import MlflowTracker
from pruning_lab.lab.output.mlflow.upload import Uploaded, summarize, upload

__all__ = ["MlflowTracker", "Uploaded", "summarize", "upload"]
