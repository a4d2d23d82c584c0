"""A container's memory limit, read from files in the kernel's format."""

from pathlib import Path

import psutil
import pytest

from batchscope.engine.devices.cgroup import Limit, cpu_quota, memory_limits
from batchscope.engine.devices.devices import Device, cores, memory_of

MIB = 1 << 20
CPU = Device("cpu", "a processor")
NONE_V1 = 9223372036854771712
MOUNT_V2 = "36 25 0:31 {top} {where} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
MOUNT_V1 = "35 31 0:32 {top} {where} rw,relatime - cgroup cgroup rw,memory\n"


def machine(root: Path, groups: str, mounts: str) -> Path:
    """A root with the two files of `proc` that say where the groups are."""
    folder = root / "proc/self"
    folder.mkdir(parents=True)
    (folder / "cgroup").write_text(groups)
    (folder / "mountinfo").write_text("23 28 0:21 / /proc rw - proc proc rw\n" + mounts)
    return root


def group_v2(folder: Path, limit: object, current: int, inactive: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(f"anon 1\nfile 2\ninactive_file {inactive}\n")


def group_v1(folder: Path, limit: object, usage: int, inactive: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{usage}\n")
    stat = f"inactive_file 0\nhierarchical_memory_limit {limit}\ntotal_inactive_file {inactive}\n"
    (folder / "memory.stat").write_text(stat)


def test_a_container_that_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    mount = MOUNT_V2.format(top="/", where="/sys/fs/cgroup")
    root = machine(tmp_path, "0::/\n", mount)
    group_v2(root / "sys/fs/cgroup", 512 * MIB, 300 * MIB, 100 * MIB)
    (limit,) = memory_limits(root)
    assert limit == Limit(512 * MIB, 200 * MIB, "/sys/fs/cgroup/memory.max")
    assert limit.available == 312 * MIB


def test_all_groups_around_are_read_smallest_limit_first(tmp_path: Path) -> None:
    mount = MOUNT_V2.format(top="/", where="/sys/fs/cgroup")
    root = machine(tmp_path, "0::/user.slice/job.scope/inner\n", mount)
    top = root / "sys/fs/cgroup"
    group_v2(top / "user.slice/job.scope/inner", "max", 10 * MIB)
    group_v2(top / "user.slice/job.scope", 900 * MIB, 50 * MIB)
    group_v2(top / "user.slice", 700 * MIB, 650 * MIB)
    group_v2(top / "other.slice", 1 * MIB, 0)
    assert [limit.total for limit in memory_limits(root)] == [700 * MIB, 900 * MIB]
    reading = memory_of(CPU, root=root)
    assert (reading.total, reading.limit) == (700 * MIB, 700 * MIB)
    assert (reading.available, reading.used) == (50 * MIB, 650 * MIB)
    assert reading.sources["limit"] == "/sys/fs/cgroup/user.slice/memory.max"
    assert reading.sources["available"] == "/sys/fs/cgroup/user.slice/memory.max"


def test_a_group_around_may_leave_less(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/a/b\n", MOUNT_V2.format(top="/", where="/cg"))
    group_v2(root / "cg/a/b", 400 * MIB, 10 * MIB)
    group_v2(root / "cg/a", 900 * MIB, 800 * MIB)
    reading = memory_of(CPU, root=root)
    assert (reading.total, reading.available) == (400 * MIB, 100 * MIB)
    assert reading.sources["total"] == "/cg/a/b/memory.max"
    assert reading.sources["available"] == "/cg/a/memory.max"


def test_a_group_above_its_limit_leaves_nothing(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", MOUNT_V2.format(top="/", where="/cg"))
    group_v2(root / "cg", 100 * MIB, 130 * MIB)
    reading = memory_of(CPU, root=root)
    assert (reading.available, reading.used) == (0, 100 * MIB)


def test_version_1(tmp_path: Path) -> None:
    groups = "5:cpuset:/elsewhere\n4:cpu,memory:/docker/abc\n0::/\n"
    root = machine(tmp_path, groups, MOUNT_V1.format(top="/", where="/sys/fs/cgroup/memory"))
    top = root / "sys/fs/cgroup/memory"
    group_v1(top / "docker/abc", 512 * MIB, 300 * MIB, 100 * MIB)
    group_v1(top / "docker", NONE_V1, 900 * MIB)
    group_v1(top, NONE_V1, 900 * MIB)
    source = "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes"
    assert memory_limits(root) == [Limit(512 * MIB, 200 * MIB, source)]


def test_a_container_whose_mount_begins_at_its_group(tmp_path: Path) -> None:
    """Docker without a namespace of groups: the host's path, which is not mounted here."""
    mount = MOUNT_V1.format(top="/docker/abc", where="/sys/fs/cgroup/memory")
    root = machine(tmp_path, "4:memory:/docker/abc\n", mount)
    group_v1(root / "sys/fs/cgroup/memory", 256 * MIB, MIB)
    (limit,) = memory_limits(root)
    assert limit.total == 256 * MIB


@pytest.mark.parametrize("path", ["/../../job", "/docker/of/the/host", "/..", ""])
def test_a_path_from_outside_of_the_mount(tmp_path: Path, path: str) -> None:
    root = machine(tmp_path, f"0::{path}\n", MOUNT_V2.format(top="/", where="/cg"))
    group_v2(root / "cg", 256 * MIB, MIB)
    group_v2(root / "job", 1 * MIB, 0)
    (limit,) = memory_limits(root)
    assert limit.total == 256 * MIB


def test_a_path_with_a_space(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/my job\n", MOUNT_V2.format(top="/", where="/my\\040groups"))
    group_v2(root / "my groups/my job", 256 * MIB, MIB)
    (limit,) = memory_limits(root)
    assert limit.source == "/my groups/my job/memory.max"


@pytest.mark.parametrize(
    "limit", ["max", "", "-1", "1e9", "nonsense", "²", "9" * 30, NONE_V1, 1 << 63, 1 << 62]
)
def test_values_that_mean_no_limit(tmp_path: Path, limit: object) -> None:
    root = machine(tmp_path, "0::/\n", MOUNT_V2.format(top="/", where="/cg"))
    group_v2(root / "cg", limit, MIB)
    assert memory_limits(root) == []


def test_a_limit_above_the_machines_memory_is_ignored(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", MOUNT_V2.format(top="/", where="/cg"))
    group_v2(root / "cg", 1 << 55, MIB)
    assert memory_of(CPU, root=root).limit is None


def test_a_limit_without_the_other_files(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", MOUNT_V2.format(top="/", where="/cg"))
    (root / "cg").mkdir()
    (root / "cg/memory.max").write_text("1048576\n")
    assert memory_limits(root) == [Limit(MIB, None, "/cg/memory.max")]
    reading = memory_of(CPU, root=root)
    assert (reading.total, reading.limit, reading.available) == (MIB, MIB, MIB)
    (root / "cg/memory.current").write_text("48576\n")
    (root / "cg/memory.stat").write_bytes(b"\xff\xfe\ninactive_file\ninactive_file x y\n")
    assert memory_limits(root)[0].available == 1_000_000


def test_no_control_groups(tmp_path: Path) -> None:
    assert memory_limits(tmp_path) == []
    reading = memory_of(CPU, root=tmp_path)
    assert (reading.total, reading.limit) == (psutil.virtual_memory().total, None)
    assert reading.sources["total"] == "psutil, total"


@pytest.mark.parametrize("text", ["", "0\n", "::\n", "\x00\xff\n", "0::/a\x0bb\n", "- - -\n"])
def test_files_with_nonsense(tmp_path: Path, text: str) -> None:
    root = machine(tmp_path, text, text + "1 2 3 / /x rw - cgroup2\n36 - cgroup2 a b\n")
    assert memory_limits(root) == []


def test_this_machine_agrees_with_the_kernel() -> None:
    """The first version says what all groups together come to; the second is only read."""
    limits = memory_limits()
    assert all(Path(limit.source).exists() for limit in limits)
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        stat = Path(f"/sys/fs/cgroup/memory{path}/memory.stat")
        if "memory" in controllers.split(",") and stat.exists():
            stated = dict(each.split() for each in stat.read_text().splitlines())
            smallest = min([limit.total for limit in limits], default=NONE_V1)
            assert smallest == int(stated["hierarchical_memory_limit"])


# ---- the processor


@pytest.mark.parametrize(
    ("stated", "quota"),
    [
        ("max 100000", None),
        ("150000 100000", 1.5),
        ("50000 100000", 0.5),
        ("400000 50000", 8.0),
        ("100000 0", None),
        ("0 100000", None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_a_containers_cpu_quota(tmp_path: Path, stated: str, quota: float | None) -> None:
    root = machine(tmp_path, "0::/\n", MOUNT_V2.format(top="/", where="/sys/fs/cgroup"))
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cpu.max").write_text(f"{stated}\n")
    assert cpu_quota(root) == quota
    own = cores(tmp_path / "no-groups")
    assert cores(root) == (own if quota is None else max(1, min(own, int(quota))))


def test_the_smallest_quota_of_all_groups_is_used(tmp_path: Path) -> None:
    mount = MOUNT_V2.format(top="/", where="/sys/fs/cgroup")
    root = machine(tmp_path, "0::/job/inner\n", mount)
    top = root / "sys/fs/cgroup"
    for folder, stated in (("job/inner", "300000 100000"), ("job", "120000 100000")):
        (top / folder).mkdir(parents=True, exist_ok=True)
        (top / folder / "cpu.max").write_text(stated)
    assert cpu_quota(root) == 1.2
    assert cores(root) == 1


@pytest.mark.parametrize(("quota", "expected"), [("-1", None), ("250000", 2.5)])
def test_version_1_has_the_quota_in_two_files(
    tmp_path: Path, quota: str, expected: float | None
) -> None:
    mount = "35 31 0:32 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    root = machine(tmp_path, "4:cpu,cpuacct:/\n5:memory:/\n", mount)
    folder = root / "sys/fs/cgroup/cpu"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(root) == expected
    assert memory_limits(root) == []
