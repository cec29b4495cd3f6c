"""A place among the ranks, as Lightning Fabric wants it told. Imports Fabric, which an extra brings."""

from lightning_fabric.plugins.environments import ClusterEnvironment

from pruning_lab.common.ranks import Place


class Surroundings(ClusterEnvironment):
    """Says what is known already; the processes are there, and connected."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return self._place.address

    @property
    def main_port(self) -> int:
        return self._place.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._place.size

    def set_world_size(self, size: int) -> None: ...

    def global_rank(self) -> int:
        return self._place.rank

    def set_global_rank(self, rank: int) -> None: ...

    def local_rank(self) -> int:
        return self._place.local_rank

    def node_rank(self) -> int:
        return self._place.node
