"""hydra/launcher=submitit_local, submitit_slurm and ray: as local, the runs elsewhere; settings in conf/hydra/launcher.

Hydra imports this file whenever it starts: what requirements-extras.txt holds is imported when a sweep is launched.
"""

from typing import TYPE_CHECKING

from hydra_plugins.metalingua.local import Local

if TYPE_CHECKING:
    from metalingua.study.pool import Pool


class Submitit(Local):
    def made(self) -> "Pool":
        from metalingua.study import remote

        return remote.Submitit(**self.pool)


class Ray(Local):
    def made(self) -> "Pool":
        from metalingua.study import remote

        return remote.Ray(**self.pool)
