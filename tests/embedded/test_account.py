"""Whose processes the servers are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub.embedded import DataDirectoryRefused
from hub.embedded.account import Account, choose_account

OTHER = Account(uid=os.geteuid() + 4321, gid=os.getegid() + 4321)


@pytest.mark.parametrize(
    ("above", "program", "reaches"),
    [(0o711, 0o755, True), (0o700, 0o755, False), (0o711, 0o700, False), (0o711, 0o644, False), (0o755, 0o705, True)],
)
def test_an_account_reaches_what_it_can_pass_to_and_run(tmp_path: Path, above: int, program: int, reaches: bool):
    (tmp_path / "bin").mkdir()
    file = tmp_path / "bin" / "server"
    file.touch()
    file.chmod(program)
    (tmp_path / "bin").chmod(above)
    for directory in tmp_path.parents:
        if not directory.stat().st_mode & 0o001:
            # pytest's own directories are closed; those above them are not ours to change.
            assert directory.is_relative_to(tmp_path.parents[1])
            directory.chmod(0o711)
    tmp_path.chmod(0o711)
    assert OTHER.may_reach(file) is reaches
    assert Account(uid=os.geteuid(), gid=os.getegid()).may_reach(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another")
def test_servers_of_roots_run_as_nobody_special_and_as_the_owner_of_what_is_there(tmp_path: Path):
    assert choose_account(tmp_path / "new").uid != 0
    cluster_dir = tmp_path / "data"
    cluster_dir.mkdir()
    os.chown(cluster_dir, OTHER.uid, OTHER.gid)
    assert choose_account(cluster_dir) == OTHER


def test_a_cluster_of_another_user_is_refused_to_one_who_is_not_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: OTHER.uid)
    with pytest.raises(DataDirectoryRefused, match=r"belongs to the user .*run the hub as that user or as root"):
        choose_account(tmp_path)
