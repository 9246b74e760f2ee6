"""What may never be changed, and why. Nothing widens this list, not even force."""

from __future__ import annotations

from fnmatch import fnmatchcase

_LOG_IN = "a wrong value can lock everyone out of the machine"
_ROUTING = "it decides where packets go, not how fast this machine serves"
_TRUST = "it would let a definition choose what nginx loads, reads, writes or talks to"
_HARDWARE = "it can damage the hardware or take the machine down"
_MEMORY = "a wrong value takes memory from the whole machine"
_SHED = "a lower value makes the kernel drop connections or refuse files for every program"

DENIED: tuple[tuple[str, str], ...] = (
    ("sysctl:kernel.*", "kernel.* decides about safety, crashes and debugging, not about serving"),
    ("sysctl:fs.*", _LOG_IN),
    ("sysctl:dev.*", _HARDWARE),
    ("sysctl:abi.*", "it decides how programs run at all"),
    ("sysctl:user.*", "it decides what programs may create at all"),
    ("sysctl:debug.*", "it decides about debugging, not about serving"),
    ("sysctl:net.ipv4.tcp_mem", "it is TCP's memory for the whole machine, in pages: " + _MEMORY),
    ("sysctl:net.ipv4.udp_mem", _MEMORY),
    ("sysctl:net.ipv4.tcp_max_orphans", _SHED),
    ("sysctl:net.ipv4.tcp_max_tw_buckets", _SHED),
    ("sysctl:net.ipv4.ip_forward*", _ROUTING),
    ("sysctl:net.ipv4.ip_default_ttl", _ROUTING),
    ("sysctl:net.ipv4.ip_unprivileged_port_start", "it decides who may open which port"),
    ("sysctl:net.ipv4.ping_group_range", "it decides who may send packets"),
    ("sysctl:net.ipv4.icmp_*", _ROUTING),
    ("sysctl:net.ipv4.conf.*", _ROUTING),
    ("sysctl:net.ipv4.neigh.*", _ROUTING),
    ("sysctl:net.ipv4.route.*", _ROUTING),
    ("sysctl:net.ipv4.*rp_filter*", _ROUTING),
    ("sysctl:net.ipv6.*", _ROUTING),
    ("sysctl:net.netfilter.*", "it belongs to the machine's firewall"),
    ("sysctl:net.bridge.*", _ROUTING),
    ("sysctl:net.core.bpf_*", "it decides what programs may load into the kernel"),
    ("sysctl:vm.overcommit_*", _MEMORY),
    ("sysctl:vm.panic_on_oom", _HARDWARE),
    ("sysctl:vm.oom_*", _MEMORY),
    ("sysctl:vm.drop_caches", "it is an action, not a setting"),
    ("sysctl:vm.compact_memory", "it is an action, not a setting"),
    ("sysctl:vm.nr_*hugepages*", _MEMORY),
    ("sysctl:vm.min_free_kbytes", "too much takes the machine down at once, too little breaks it slowly"),
    ("sysctl:vm.mmap_*", "it weakens the machine's protection"),
    ("sysctl:vm.max_map_count", "a wrong value stops programs from starting"),
    ("sysctl:vm.*_reserve_*", _LOG_IN),
    ("sysctl:vm.lowmem_reserve_ratio", _MEMORY),
    ("sysctl:*/*", "a key has dots, no slashes"),
    ("sysctl:*..*", "a key has no empty parts"),
    ("nginx:include", _TRUST),
    ("nginx:load_module", _TRUST),
    ("nginx:ssl_*", _TRUST),
    ("nginx:env", _TRUST),
    ("nginx:user", _TRUST),
    ("nginx:pid", _TRUST),
    ("nginx:lock_file", _TRUST),
    ("nginx:daemon", "the tested nginx must stay the agent's own child"),
    ("nginx:master_process", "the tested nginx must stay the agent's own child"),
    ("nginx:error_log", "its errors decide whether a sample counts"),
    ("nginx:debug_*", "it can stop nginx on purpose"),
    ("nginx:working_directory", _TRUST),
    ("nginx:worker_rlimit_core", _TRUST),
    ("nginx:root", _TRUST),
    ("nginx:alias", _TRUST),
    ("nginx:*_pass", _TRUST),
    ("nginx:*_path", _TRUST),
    ("nginx:*_store*", _TRUST),
    ("nginx:auth_*", _TRUST),
    ("nginx:perl*", _TRUST),
    ("nginx:js_*", _TRUST),
    ("nginx:*lua*", _TRUST),
    ("nginx:dav_*", _TRUST),
    ("nginx:access_log.path", _TRUST),
    ("nginx:log_format", _TRUST),
    ("nginx:listen.address", "the address is the bench's own"),
    ("nginx:listen.port", "the port is the study's own"),
    ("thp:khugepaged*", "its work goes on after the night; only enabled and defrag are changed"),
)


def denied_reason(id_: str) -> str:
    """Why this setting may never be changed; empty when nothing speaks against it."""
    return next((reason for pattern, reason in DENIED if fnmatchcase(id_, pattern)), "")
